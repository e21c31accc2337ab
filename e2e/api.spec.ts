import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "@playwright/test";
import { api, runEnd, type Sluice, tasksOf, triggerRun } from "./sluice.ts";

const sluice = { url: process.env.E2E_URL! } as Sluice;

test("only health and ready answer without a token", async () => {
  const open = ["/health", "/ready"];
  for (const path of open) expect((await fetch(`${sluice.url}/api/v1${path}`)).status).toBe(200);
  const closed = [
    "/dags",
    "/dags/hello",
    "/dags/hello/next-runs",
    "/dag-runs",
    "/dag-runs/1",
    "/dag-runs/1/tasks",
    "/dag-runs/1/events",
    "/task-instances/1",
    "/task-instances/1/logs",
    "/workers",
    "/nothing",
  ];
  for (const path of closed) {
    for (const authorization of [undefined, "Bearer nothing", "Basic YWRtaW46YWRtaW4=", "Bearer "]) {
      const response = await fetch(`${sluice.url}/api/v1${path}`, authorization ? { headers: { authorization } } : {});
      expect(response.status, `${path} with ${authorization}`).toBe(401);
      expect(response.headers.get("content-type")).toContain("application/problem+json");
    }
  }
  for (const action of ["trigger", "pause", "unpause"])
    expect((await fetch(`${sluice.url}/api/v1/dags/hello/${action}`, { method: "POST" })).status, action).toBe(401);
});

test("a run is triggered, followed and read by the API", async () => {
  const runId = await triggerRun(sluice, "hello", { note: "by the test" });
  expect(await runEnd(sluice, runId)).toBe("success");
  const tasks = await tasksOf(sluice, runId);
  expect(tasks.map((task) => [task.taskId, task.state])).toEqual([
    ["extract", "success"],
    ["check", "success"],
    ["transform", "success"],
    ["report", "success"],
  ]);
  const logs = await api(sluice, `/task-instances/${tasks[2]!.id}/logs?attempt=1`);
  expect(await logs.text()).toBe("the sum of 3 numbers is 100\n");
  const report = await api(sluice, `/task-instances/${tasks[3]!.id}/logs?attempt=1`);
  expect(await report.text()).toContain('{"transform":{"sum":100}}');
});

test("the same idempotency key gives the same run", async () => {
  const key = crypto.randomUUID();
  const send = (body: object): Promise<Response> =>
    api(sluice, "/dags/failing/trigger", {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "idempotency-key": key },
    });
  const [first, second] = [await send({ conf: { n: 1 } }), await send({ conf: { n: 1 } })];
  expect([first.status, second.status]).toEqual([201, 200]);
  expect(((await first.json()) as { id: string }).id).toBe(((await second.json()) as { id: string }).id);
  expect((await send({ conf: { n: 2 } })).status).toBe(409);
});

test("bad requests get a clear problem and never a 5xx", async () => {
  const trigger = "/dags/hello/trigger";
  const cases: [string, { method?: string; body?: string; headers?: Record<string, string> }, number][] = [
    [trigger, { method: "POST", body: "{not json" }, 400],
    [trigger, { method: "POST", body: '{"surprise":1}' }, 400],
    [trigger, { method: "POST", body: '{"conf":[]}' }, 400],
    [trigger, { method: "POST", body: '{"logicalDate":"yesterday"}' }, 400],
    [trigger, { method: "POST", body: '{"note":"\\u0000"}' }, 400],
    [trigger, { method: "POST", body: '{"conf":{"a":"\\u0000"}}' }, 400],
    [trigger, { method: "POST", body: "{}", headers: { "content-type": "text/plain" } }, 415],
    [trigger, { method: "POST", body: `{"note":"${"x".repeat(1_100_000)}"}` }, 413],
    [trigger, { method: "POST", body: `{"conf":{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}}` }, 400],
    ["/dags/%ff", {}, 400],
    ["/dags/nowhere/trigger", { method: "POST", body: "{}" }, 404],
    ["/dags/hello/trigger", { method: "GET" }, 405],
    ["/dag-runs/abc", {}, 404],
    ["/dag-runs/99999999999999999999", {}, 404],
    ["/dag-runs?limit=0", {}, 400],
    ["/dag-runs?limit=1000000", {}, 400],
    ["/dag-runs?state=asleep", {}, 400],
    ["/dag-runs?cursor=nonsense", {}, 400],
    ["/nothing/here", {}, 404],
  ];
  for (const [path, init, status] of cases) {
    const response = await api(sluice, path, init);
    const shown = `${init.method ?? "GET"} ${path} ${(init.body ?? "").slice(0, 40)}`;
    expect(response.status, shown).toBe(status);
    const problem = (await response.json()) as { status: number; code: string; detail: string };
    expect(problem, shown).toMatchObject({ status, code: expect.any(String), detail: expect.any(String) });
  }
});

test("a query is counted before anything parses it", async () => {
  // Next takes seconds of the event loop for the first of these.
  for (const query of ["a&".repeat(6_000), "a".repeat(4_097)])
    for (const path of ["/login", "/api/v1/dags", "/api/auth/session"])
      expect((await fetch(`${sluice.url}${path}?${query}`)).status, path).toBe(414);
  expect((await fetch(`${sluice.url}/login?callbackUrl=%2Fdags`)).status).toBe(200);
});

test("a body is counted before anything parses it, for every path", async () => {
  const post = (path: string, body: BodyInit, more: object = {}): Promise<Response> =>
    fetch(`${sluice.url}${path}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/x-www-form-urlencoded" },
      ...more,
    });
  const began = performance.now();
  // Node's parser of forms takes eleven seconds of the event loop for this one.
  const refused = await post("/api/auth/callback/credentials", "a&".repeat(512 * 1024));
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([413, "payload_too_large"]);
  expect((await post("/dags", "x".repeat(1024 * 1024 + 1))).status).toBe(413);
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("a&".repeat(1_000)));
      controller.close();
    },
  });
  expect((await post("/api/auth/callback/credentials", stream, { duplex: "half" })).status).toBe(411);
  // Not by another way to the same place, which fetch itself would make straight.
  const { hostname, port } = new URL(sluice.url);
  for (const path of [
    "/api/./auth/x",
    "/x/../api/auth/x",
    "/api/v1/%2e%2E/auth/x",
    "/api\\auth/x",
    "http://x/api/auth/x",
  ]) {
    const socket = connect(Number(port), hostname);
    socket.end(`POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`);
    const [head] = (await once(socket, "data")) as [Buffer];
    expect(head.toString(), path).toMatch(/^HTTP\/1.1 400 /);
    socket.destroy();
  }
  expect((await fetch(`${sluice.url}/api/v1/health`)).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(8_000);
});
