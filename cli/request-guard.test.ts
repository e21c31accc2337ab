import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { requestGuard } from "./request-guard.ts";

const local = requestGuard({ url: "http://localhost:8080", otherUrls: ["http://web:8080"], trustedProxies: [] });
const proxied = requestGuard({ url: "https://sluice.example", otherUrls: [], trustedProxies: ["10.0.0.0/8"] });

type Asked = { method?: string; url?: string; headers?: Record<string, string>; peer?: string };

const asked = ({ method = "GET", url = "/dags", headers = {}, peer = "127.0.0.1" }: Asked): IncomingMessage =>
  ({
    method,
    url,
    headers: { host: "localhost:8080", ...headers },
    socket: { localAddress: "::ffff:127.0.0.1", remoteAddress: peer },
  }) as unknown as IncomingMessage;

const statusOf = (given: Asked, guard = local): number | undefined => guard.refusal(asked(given))?.status;

test.each<[string, Asked, number | undefined]>([
  ["a page", {}, undefined],
  ["an unknown method", { method: "PROPFIND" }, 405],
  ["dots in a path", { url: "/api/v1/%2e%2E/auth/x" }, 400],
  ["a malformed escape", { url: "/dags/%zz" }, 400],
  ["64 parameters", { url: `/login?${"a&".repeat(63)}` }, undefined],
  ["65 parameters", { url: `/login?${"a&".repeat(64)}` }, 414],
  ["a long query", { url: `/login?a=${"x".repeat(4_096)}` }, 414],
  ["a host of somebody else", { headers: { host: "evil.example" } }, 421],
  [
    "a host of somebody else at the health check",
    { url: "/api/v1/health", headers: { host: "evil.example:8080" } },
    421,
  ],
  ["another name of ours", { headers: { host: "web:8080" } }, undefined],
  ["a long form", { url: "/api/auth/signout", method: "POST", headers: { "content-length": "16385" } }, 413],
  ["a form of unknown length", { url: "/dags", method: "POST", headers: { "transfer-encoding": "chunked" } }, 411],
])("%s", (_, given, status) => {
  expect(statusOf(given)).toBe(status);
});

test("who is refused for the host reads which settings name hosts", () => {
  expect(local.refusal(asked({ headers: { host: "sluice.internal" } }))?.detail).toMatch(
    /"sluice\.internal".*SLUICE_URL.*SLUICE_OTHER_URLS/,
  );
});

describe("a change", () => {
  const PATHS = ["/api/auth/signout", "/api/v1/dags/hello/trigger", "/login"];
  const METHODS = ["POST", "PUT", "PATCH", "DELETE"];
  test.each<[Record<string, string>, number | undefined]>([
    [{}, undefined],
    [{ origin: "http://localhost:8080" }, undefined],
    [{ origin: "http://localhost:8080", "sec-fetch-site": "same-origin" }, undefined],
    [{ origin: "http://web:8080", host: "web:8080" }, undefined],
    [{ origin: "https://localhost:8080" }, 403],
    [{ origin: "http://localhost:3000", "sec-fetch-site": "same-site" }, 403],
    [{ origin: "http://evil.example" }, 403],
    [{ origin: "null" }, 403],
    [{ "sec-fetch-site": "cross-site" }, 403],
  ])("with the headers %j", (headers, status) => {
    for (const url of PATHS)
      for (const method of METHODS) expect(statusOf({ method, url, headers }), `${method} ${url}`).toBe(status);
  });

  test("may be read of by links from anywhere", () => {
    for (const method of ["GET", "HEAD", "OPTIONS"])
      expect(
        statusOf({ method, headers: { origin: "http://evil.example", "sec-fetch-site": "cross-site" } }),
      ).toBeUndefined();
  });

  test("behind a proxy comes from the public address, by whatever host the proxy asks", () => {
    for (const host of ["sluice.example", "127.0.0.1:8080"]) {
      const from = (origin: string): Asked => ({ method: "POST", headers: { host, origin } });
      expect(statusOf(from("https://sluice.example"), proxied)).toBeUndefined();
      expect(statusOf(from("http://sluice.example"), proxied)).toBe(403);
      expect(statusOf(from("https://sluice.example:8443"), proxied)).toBe(403);
    }
  });
});

test("only an https address is kept to https", () => {
  expect([local.headers, proxied.headers]).toEqual([{}, { "strict-transport-security": "max-age=31536000" }]);
});

test("only a named proxy says who asks", () => {
  const seen = (peer: string): unknown => {
    const incoming = asked({ peer, headers: { "x-forwarded-for": "1.2.3.4" } });
    proxied.nameClient(incoming);
    return incoming.headers["x-forwarded-for"];
  };
  expect([seen("10.9.9.9"), seen("::ffff:10.9.9.9"), seen("192.168.1.1"), seen("::1")]).toEqual([
    "1.2.3.4",
    "1.2.3.4",
    "192.168.1.1",
    "::1",
  ]);
});
