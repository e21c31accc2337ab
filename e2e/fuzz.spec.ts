import { globSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { expect, test } from "@playwright/test";
import { AUTH_PATHS } from "../lib/auth/auth-paths.ts";
import { operations } from "../lib/contract/index.ts";
import type { Operation } from "../lib/contract/op.ts";
import { ADMIN_PASSWORD, API_TOKEN } from "./sluice.ts";

/** Of each route, beside those with each word. */
const REQUESTS_PER_ROUTE = 15;
const AT_ONCE = 8;
const SEED = 20_261_130;

const { hostname, port } = new URL(process.env.E2E_URL!);

/** Numbers from 0 to 1, the same in each run (mulberry32, public domain). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every pattern that a file below `app` serves, as the files have it: a new page or route is asked by itself. */
function routePatterns(): string[] {
  const files = globSync("**/{page.tsx,route.ts}", { cwd: path.join(import.meta.dirname, "../app") });
  const patterns = files.map((file) =>
    `/${path.dirname(file).replaceAll(path.sep, "/")}`.replaceAll(/\/\([^/]+\)/g, ""),
  );
  return [
    ...patterns.map((pattern) => (pattern === "/." ? "/" : pattern)),
    ...Object.keys(AUTH_PATHS).map((of) => `/api/auth/${of}`),
  ];
}

const WORDS = [
  "hello",
  "1",
  "0",
  "-1",
  "1e3",
  "9223372036854775807",
  "9223372036854775808",
  "%00",
  "a%00b",
  "%0a",
  "%ff",
  "%ed%a0%80",
  "%F0%9F%98%80",
  "a%2fb",
  "..%2f..",
  "%5c",
  "%27%22%3c",
  "__proto__",
  "[id]",
  "%25%30%30",
  "x".repeat(300),
  "true",
  "2026-01-01T00:00:00Z",
  "javascript:x",
  "//evil.example",
];

/** What the contract knows, and what pages read. */
const QUERY_NAMES = [
  ...new Set([
    ...(Object.values(operations) as Operation[]).flatMap(({ query }) => Object.keys(query?.shape ?? {})),
    "after",
    "before",
    "task",
    "callbackUrl",
    "error",
    "_rsc",
    "__proto__",
  ]),
];

const COOKIES = [
  "next-auth.session-token=x",
  "next-auth.session-token=%",
  "next-auth.session-token.0=a; next-auth.session-token.1=b",
  "next-auth.callback-url=javascript:x",
  "next-auth.csrf-token=%ff|",
  "sluice.browser=a.b",
  "=;;; a",
  "\u0001=\u0002",
  "x=".padEnd(4_000, "y"),
];

const HEADERS = [
  "rsc: 1",
  "next-router-state-tree: %5B%22",
  "next-router-prefetch: 1",
  "next-router-segment-prefetch: /_tree",
  "next-action: 00",
  "next-action: 7f0000000000000000000000000000000000000000",
  "next-resume: 1",
  "x-nextjs-data: 1",
  "x-middleware-subrequest: proxy:proxy:proxy:proxy:proxy",
  "x-forwarded-host: evil.example",
  "x-forwarded-proto: \u0001",
  "x-forwarded-for: , ,",
  "x-matched-path: /%",
  "idempotency-key: \u00ff",
  "last-event-id: 99999999999999999999999",
  "if-none-match: \u0022",
  "range: bytes=9-1",
  "accept: \u00ff/\u00ff",
  "accept-encoding: gzip;q=x",
  "accept-language: *;;;",
  "authorization: Bearer x",
  "authorization: Basic %%%",
];

const TYPES = [
  "application/json",
  "application/json; charset=utf-16",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "multipart/form-data; boundary=x",
  "text/plain;charset=UTF-8",
  "\u00ff",
];

const BODIES = [
  "",
  "{",
  "null",
  "[1]",
  "{}",
  '{"conf":{"a":"\\u0000"}}',
  '{"conf":{"\\ud800":1}}',
  '{"__proto__":{"a":1}}',
  '{"note":1e999}',
  `{"conf":${"[".repeat(3_000)}`,
  "csrfToken=a&csrfToken=b",
  "name=%00&password=%ff&csrfToken=%",
  "json=true&callbackUrl=javascript:x",
  "&".repeat(4_000),
  '--x\r\ncontent-disposition: form-data; name="$ACTION_ID_00"\r\n\r\n\r\n--x--\r\n',
  '--x\r\ncontent-disposition: form-data; name="1_$ACTION_REF_1"\r\n\r\n{\r\n--x--\r\n',
  "\u00ff\u00fe\u0000",
];

const METHODS = ["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** One malformed request to the pattern, as the bytes of HTTP. */
function requestTo(pattern: string, random: () => number, session: string): string {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const some = <T>(from: readonly T[], most: number): T[] =>
    Array.from({ length: Math.floor(random() * (most + 1)) }, () => pick(from));
  const where = pattern.replaceAll(/\[\[?(?:\.\.\.)?\w+\]?\]/g, (part) =>
    part.includes("...") ? some(WORDS, 3).join("/") : pick(WORDS),
  );
  const query = some(QUERY_NAMES, 3).map((name) => `${name}=${pick(WORDS)}`);
  const method = pick(METHODS);
  const body = method === "GET" || method === "HEAD" ? "" : pick(BODIES);
  const cookie = [...(random() < 0.7 ? [session] : []), ...some(COOKIES, 1)].join("; ");
  const origin = random() < 0.8 ? [`origin: http://${hostname}:${port}`] : [];
  const token = random() < 0.3 ? [`authorization: Bearer ${API_TOKEN}`] : [];
  const head = [
    `${method} ${where}${query.length === 0 ? "" : `?${query.join("&")}`} HTTP/1.1`,
    `host: ${hostname}:${port}`,
    "connection: close",
    ...(cookie === "" ? [] : [`cookie: ${cookie}`]),
    ...(body === "" ? [] : [`content-type: ${pick(TYPES)}`]),
    `content-length: ${body.length}`,
    ...origin,
    ...token,
    ...some(HEADERS, 2),
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** A signed-in look at the pattern with this word in all its places: pages read what they know of a query, and pass over the rest. */
function lookAt(pattern: string, word: string, session: string): string {
  const where = pattern.replaceAll(/\[\[?(?:\.\.\.)?\w+\]?\]/g, (part) => (/id\]/i.test(part) ? "hello" : word));
  const query = QUERY_NAMES.map((name) => `${name}=${word}`).join("&");
  return `GET ${where}?${query} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\ncookie: ${session}\r\n\r\n`;
}

/** The status of the response; 0 when the connection was closed without one. Its body may have no end. */
function statusOf(request: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(request, "latin1"));
    socket.once("data", (bytes: Buffer) => {
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(bytes.toString("latin1"))?.[1] ?? 0));
      socket.destroy();
    });
    socket.once("close", () => resolve(0));
    socket.once("error", reject);
  });
}

async function sessionCookie(): Promise<string> {
  const url = process.env.E2E_URL!;
  const first = await fetch(`${url}/api/auth/csrf`);
  const cookiesOf = (response: Response): string =>
    response.headers
      .getSetCookie()
      .map((one) => one.split(";")[0])
      .join("; ");
  const { csrfToken } = (await first.json()) as { csrfToken: string };
  const signedIn = await fetch(`${url}/api/auth/callback/credentials`, {
    method: "POST",
    headers: { cookie: cookiesOf(first) },
    body: new URLSearchParams({ csrfToken, name: "admin", password: ADMIN_PASSWORD, json: "true" }),
  });
  return cookiesOf(signedIn);
}

test("no malformed request to any route is the server's fault", async () => {
  const session = await sessionCookie();
  expect(session).toContain("session-token");
  const patterns = routePatterns();
  expect(patterns).toEqual(
    expect.arrayContaining(["/", "/dags/[id]", "/api/v1/dags/[dagId]/trigger", "/api/auth/csrf"]),
  );
  const random = randomOf(SEED);
  const waiting = patterns.flatMap((pattern) => [
    ...WORDS.map((word) => lookAt(pattern, word, session)),
    ...Array.from({ length: REQUESTS_PER_ROUTE }, () => requestTo(pattern, random, session)),
  ]);
  const faults: string[] = [];
  const seen = new Map<number, number>();
  const lane = async (): Promise<void> => {
    for (let request = waiting.pop(); request !== undefined; request = waiting.pop()) {
      const status = await statusOf(request);
      seen.set(status, (seen.get(status) ?? 0) + 1);
      if (status === 0 || status >= 500) faults.push(`${status} ${JSON.stringify(request.slice(0, 1_500))}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(faults).toEqual([]);
  // They got behind the door: pages and operations have read them.
  for (const status of [200, 400, 404, 415]) expect(seen.get(status) ?? 0, `responses ${status}`).toBeGreaterThan(5);
});
