import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { NO_XCOMS } from "#lib/domain/xcom.ts";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { HttpConfig } from "#lib/domain/model/task-types.ts";
import type { ExecutorContext, Outcome } from "./executor.ts";
import { createAddressGuard, type Resolve } from "./http-address.ts";
import { http } from "./http.ts";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener, host = "127.0.0.1"): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

type Given = { allow?: string[]; signal?: AbortSignal; resolve?: Resolve };

function run(config: object, { allow = ["127.0.0.1"], signal, resolve }: Given = {}): Promise<Outcome> {
  const context: ExecutorContext = {
    attempt: {
      attemptId: "attempt-1",
      number: 1,
      taskInstanceId: "1048576",
      taskId: "t",
      runId: "1",
      dagId: "d",
      logicalDate: "2026-01-01T00:00:00.000Z",
      intervalStart: "2026-01-01T00:00:00.000Z",
      intervalEnd: "2026-01-02T00:00:00.000Z",
      conf: {},
      params: {},
      bundle: undefined,
    },
    env: {},
    inputs: async () => NO_XCOMS,
    signal: signal ?? new AbortController().signal,
    timeoutMs: 60_000,
    workDir: "/nonexistent",
    network: createAddressGuard(allow, resolve),
    sourceOf: () => Promise.reject(new Error("it has no file")),
    log: () => undefined,
    spawn: () => Promise.reject(new Error("no process")),
    contain: () => Promise.reject(new Error("no container")),
    call: () => Promise.reject(new Error("no function")),
  };
  return http.run(context, HttpConfig.parse(config));
}

describe("http", () => {
  test("sends what it is told and gives the response as its output", async () => {
    const url = await serve((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ method: request.method, url: request.url, body, headers: request.headers }));
      });
    });
    const posted = await run({ url, method: "POST", json: { a: 1 }, query: { q: "ä &" }, headers: { "X-Key": "v" } });
    expect(posted).toMatchObject({
      kind: "success",
      output: {
        status: 200,
        body: {
          method: "POST",
          url: "/?q=%C3%A4+%26",
          body: '{"a":1}',
          headers: { "content-type": "application/json", "x-key": "v", "idempotency-key": "attempt-1" },
        },
      },
    });
    const form = await run({ url, method: "PUT", form: { a: "1 2" } });
    expect(form).toMatchObject({ output: { body: { body: "a=1+2" } } });
    const got = (await run({ url })) as { output: { body: { headers: object } } };
    expect(got.output.body.headers).not.toHaveProperty("idempotency-key");
  });

  test("fails with the status that was not expected, and with what went wrong", async () => {
    const url = await serve((request, response) => {
      response.statusCode = Number(request.url!.slice(1));
      response.end("text");
    });
    expect(await run({ url: `${url}/503` })).toMatchObject({ kind: "failed", reason: "HTTP_STATUS", httpStatus: 503 });
    expect(await run({ url: `${url}/404`, expect: [404] })).toMatchObject({
      kind: "success",
      output: { body: "text" },
    });
    expect(await run({ url: "http://127.0.0.1:1/" })).toMatchObject({ kind: "failed", reason: "HTTP_ERROR" });
    expect(await run({ url: "not a url" })).toMatchObject({ kind: "failed", reason: "HTTP_ERROR" });
    expect(await run({ url: "file:///etc/passwd" })).toMatchObject({ kind: "failed", reason: "ADDRESS_REFUSED" });
    expect(await run({ url: url.replace("//", "//user:pass@") })).toMatchObject({
      kind: "failed",
      reason: "ADDRESS_REFUSED",
    });
  });

  test("ends at its time limit and when it is stopped", async () => {
    const url = await serve(() => undefined);
    expect(await run({ url, responseTimeout: "50ms" })).toMatchObject({ kind: "failed", reason: "TIMEOUT" });
    const stop = new AbortController();
    const running = run({ url }, { signal: stop.signal });
    stop.abort();
    expect(await running).toMatchObject({ kind: "failed" });
  });

  test("does not read on when the response is larger than an output may be", async () => {
    const url = await serve((_, response) => {
      const send = (): void => {
        while (response.writable && response.write(Buffer.alloc(65_536)));
      };
      response.on("drain", send);
      send();
    });
    expect(await run({ url })).toMatchObject({ kind: "failed", reason: "RESULT_TOO_LARGE" });
  });

  test("follows redirects as far as allowed, and drops credentials on the way to another origin", async () => {
    const other = await serve((request, response) => response.end(JSON.stringify(request.headers)));
    const url = await serve((request, response) => {
      const hop = Number(request.url!.slice(1));
      response.writeHead(302, { location: hop > 0 ? `/${hop - 1}` : other }).end();
    });
    const headers = { Authorization: "secret", "X-Api-Key": "secret", Host: "secret.example", Accept: "text/kept" };
    const followed = await run({ url: `${url}/2`, headers });
    expect(followed).toMatchObject({ kind: "success", output: { body: expect.stringContaining("kept") } });
    expect(JSON.stringify(followed)).not.toContain("secret");
    expect(await run({ url: `${url}/9`, redirects: 3 })).toMatchObject({ kind: "failed", reason: "HTTP_ERROR" });
    expect(await run({ url: `${url}/9`, redirects: 0, expect: [302] })).toMatchObject({ kind: "success" });
  });

  test("sends no body to another origin; within one it does, and a POST that becomes a GET has none", async () => {
    const seen: string[] = [];
    const keep = (request: IncomingMessage, response: ServerResponse, status: number, location?: string) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        seen.push(`${request.method} ${body} ${String(request.headers["x-api-key"] ?? "-")}`);
        response.writeHead(status, location === undefined ? {} : { location }).end();
      });
    };
    const other = await serve((request, response) => keep(request, response, 200));
    const url = await serve((request, response) => {
      const [, status, where] = request.url!.split("/");
      keep(request, response, Number(status), where === "out" ? other : where === "in" ? "/200" : undefined);
    });
    const post = { method: "POST", body: "b", headers: { "X-Api-Key": "k" } };
    expect(await run({ url: `${url}/307/out`, ...post })).toMatchObject({
      reason: "ADDRESS_REFUSED",
      error: expect.stringContaining(`redirects a request with a body to another origin, ${other}`),
    });
    expect(await run({ url: `${url}/307/in`, ...post })).toMatchObject({ kind: "success" });
    expect(await run({ url: `${url}/303/out`, ...post })).toMatchObject({ kind: "success" });
    expect(seen).toEqual(["POST b k", "POST b k", "POST b k", "POST b k", "GET  -"]);
  });

  test("ends with its signal also while a name server does not respond", async () => {
    const stop = new AbortController();
    const asked = Promise.withResolvers<void>();
    const never: Resolve = () => (asked.resolve(), new Promise(() => undefined));
    const ended = run({ url: "http://example.org" }, { resolve: never, signal: stop.signal });
    await asked.promise;
    stop.abort(new Error("cancelled"));
    expect(await ended).toMatchObject({ kind: "failed", reason: "HTTP_ERROR" });
    expect(await run({ url: "http://example.org", responseTimeout: "20ms" }, { resolve: never })).toMatchObject({
      reason: "TIMEOUT",
    });
  });

  test("never reaches a private address, neither at once nor by a redirect nor by a name that changes its mind", async () => {
    let hits = 0;
    const canary = await serve((_, response) => {
      hits++;
      response.end();
    }, "127.0.0.3");
    expect(await run({ url: canary }, { allow: [] })).toMatchObject({ kind: "failed", reason: "ADDRESS_REFUSED" });
    const port = new URL(canary).port;
    const names: Resolve = async () => [
      { address: "93.184.216.34", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ];
    expect(await run({ url: `http://example.org:${port}` }, { allow: [], resolve: names })).toMatchObject({
      reason: "ADDRESS_REFUSED",
    });
    const entry = await serve((_, response) =>
      response.writeHead(302, { location: `http://[::ffff:127.0.0.3]:${port}/` }).end(),
    );
    expect(await run({ url: entry })).toMatchObject({ kind: "failed", reason: "ADDRESS_REFUSED" });
    // The name is asked once; its second answer would be the canary.
    let asked = 0;
    const rebinding: Resolve = async () => [{ address: asked++ === 0 ? "127.0.0.2" : "127.0.0.3", family: 4 }];
    await run(
      { url: `http://example.org:${port}`, responseTimeout: "500ms" },
      { allow: ["127.0.0.2"], resolve: rebinding },
    );
    expect(asked).toBe(1);
    expect(hits).toBe(0);
  });
});

describe("addresses", () => {
  const guard = createAddressGuard([]);
  const evil = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "localhost.",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[100:0:0:1::1]",
    "[::ffff:0:7f00:1]",
    "168.63.129.16",
    "[5f00::1]",
    "[3fff::1]",
  ];

  test.each(evil)("%s is refused", async (host) => {
    let hostname: string;
    try {
      ({ hostname } = new URL(`http://${host}/`));
    } catch {
      return; // Not an address that a request can be made of at all.
    }
    const found = await guard.addressOf(hostname).catch(() => undefined);
    expect(found).toBeUndefined();
  });

  test("public ones are not", async () => {
    for (const address of ["93.184.216.34", "1.1.1.1", "[2606:4700::1111]", "172.32.0.1", "100.128.0.1"]) {
      expect(await guard.addressOf(address)).toBeDefined();
    }
  });
});

test("a server that makes another protocol of the connection fails the request, whatever its method", async () => {
  const server = createServer();
  servers.push(server);
  const head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
  server.on("request", (request) => request.socket.write(head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const method of ["GET", "POST"])
    expect(await run({ url, method })).toMatchObject({
      kind: "failed",
      reason: "HTTP_ERROR",
      error: expect.stringContaining("the server answered 101") as unknown,
    });
});
