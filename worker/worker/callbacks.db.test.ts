import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import { finish } from "#lib/engine/finish.ts";
import { killTask, markTask } from "#lib/engine/run-actions.ts";
import { createAddressGuard } from "#lib/executors/http-address.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, start, success, worker } from "#lib/testing/engine.ts";
import { NO_SECRETS, type SecretProvider } from "../secrets/provider.ts";
import { makeCalls } from "./callbacks.ts";

const database = testDatabase();
const network = createAddressGuard(["127.0.0.0/8"]);
const never = new AbortController().signal;

type Heard = { path: string; key: string; method: string; body: string };
const heard: Heard[] = [];
let status = 200;

const server = createServer((request: IncomingMessage, response) => {
  void text(request).then((body) => {
    const key = String(request.headers["idempotency-key"]);
    heard.push({ path: request.url!, key, method: request.method!, body });
    response.writeHead(status).end();
  });
});

beforeAll(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterAll(() => server.close());
beforeEach(async () => {
  heard.length = 0;
  status = 200;
  await database.pool.query("delete from sluice_boss.job where name = 'callbacks'");
});

const url = (path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
const call = (path: string, more: object = {}): object[] => [{ http: { url: url(path), ...more } }];

async function publishCalling(id: string, callbacks: object, task: object = {}): Promise<void> {
  const spec = DagSpec.parse({
    id,
    callbacks,
    params: { who: { type: "string", default: "anna" } },
    tasks: [{ id: "a", type: "bash", config: { command: "true" }, ...task }],
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

const deliver = (secrets = NO_SECRETS): Promise<void> => makeCalls(database.deps, { network, secrets }, never);

test("the end of a task and of its run call with what happened, each once", async () => {
  const { deps } = database;
  await publishCalling(
    "told",
    { onSuccess: call("/run") },
    { callbacks: { onSuccess: call("/task"), onFailure: call("/no") } },
  );
  const w = await worker(deps, "w");
  const runId = await start(deps, "told");
  const [claimed] = await claimAll(deps, w);
  await finish(deps, [success(claimed!)], "worker:w");
  await deliver();
  await deliver();
  expect(heard.map(({ path, method }) => `${method} ${path}`).toSorted()).toEqual(["POST /run", "POST /task"]);
  const task = JSON.parse(heard.find(({ path }) => path === "/task")!.body) as object;
  expect(task).toMatchObject({ event: "success", dagId: "told", runId, taskId: "a", attempt: 1, reason: "EXIT" });
  // Of a DAG without a schedule: about no time.
  const { logicalDate, intervalStart, intervalEnd } = task as RunTimes<string>;
  expect(logicalDate).toMatch(/^20.*Z$/);
  expect([intervalStart, intervalEnd]).toEqual([logicalDate, logicalDate]);
  const run = JSON.parse(heard.find(({ path }) => path === "/run")!.body) as object;
  expect(run).not.toHaveProperty("taskId");
});

test("a retry and a failure are told apart; expressions and a body of one's own are sent", async () => {
  const { deps } = database;
  const json = { text: "${{ params.who }}: ${{ task.id }} of ${{ run.dagId }}", attempt: "${{ task.attempt }}" };
  await publishCalling(
    "retried",
    { onFailure: call("/run") },
    {
      retries: { max: 1, delay: "1ms", backoff: "fixed" },
      callbacks: { onRetry: call("/retry", { json }), onFailure: call("/failure", { method: "PUT", body: "x" }) },
    },
  );
  const w = await worker(deps, "w");
  await start(deps, "retried");
  const [first] = await claimAll(deps, w);
  await finish(deps, [{ ...failed(first!), retryInMs: 0 }], "worker:w");
  await deliver();
  expect(heard.map(({ path }) => path)).toEqual(["/retry"]);
  expect(JSON.parse(heard[0]!.body)).toEqual({ text: "anna: a of retried", attempt: 1 });
  const [second] = await claimAll(deps, w);
  await finish(deps, [{ ...failed(second!), error: "no ${{ evil }}" }], "worker:w");
  await deliver();
  expect(
    heard
      .slice(1)
      .map(({ path, method }) => `${method} ${path}`)
      .toSorted(),
  ).toEqual(["POST /run", "PUT /failure"]);
});

test("an end by a person's hand calls as well", async () => {
  const { deps } = database;
  await publishCalling(
    "by-hand",
    { onFailure: call("/run") },
    { callbacks: { onSuccess: call("/ok"), onFailure: call("/bad") } },
  );
  await worker(deps, "w");
  const runId = await start(deps, "by-hand");
  const { rows } = await deps.pool.query<{ id: string }>("select id from sluice.task_instance where run_id = $1", [
    runId,
  ]);
  await killTask(deps, rows[0]!.id, { actor: "anna" });
  await deliver();
  expect(heard.map(({ path }) => path).toSorted()).toEqual(["/bad", "/run"]);
  await markTask(deps, rows[0]!.id, "success", { actor: "anna" });
  await deliver();
  expect(heard.slice(2).map(({ path }) => path)).toEqual(["/ok"]);
});

test("a call that fails comes again with the same key, and is given up in the end with a word in the history", async () => {
  const { deps } = database;
  await publishCalling("away", { onSuccess: call("/run") });
  const w = await worker(deps, "w");
  const runId = await start(deps, "away");
  const [claimed] = await claimAll(deps, w);
  await finish(deps, [success(claimed!)], "worker:w");
  status = 503;
  for (let time = 0; time <= 10; time++) {
    await deliver();
    await database.pool.query("update sluice_boss.job set start_after = now() where name = 'callbacks'");
  }
  await deliver();
  expect(heard).toHaveLength(11);
  expect(new Set(heard.map(({ key }) => key)).size).toBe(1);
  const { rows } = await deps.pool.query<{ reason: string; from: string; to: string }>(
    `select reason, from_state as "from", to_state as "to" from sluice.event where run_id = $1 and actor = 'callbacks'`,
    [runId],
  );
  expect(rows).toEqual([
    { reason: "CALLBACK_FAILED: the response has status 503; expected 200 to 299", from: "success", to: "success" },
  ]);
});

test("a call may use secrets: one that is missing is told and not repeated, one that is there is in no word of it", async () => {
  const { deps } = database;
  const headers = { "x-token": "${{ secrets.TOKEN }}" };
  const onSuccess = [...call("/token", { headers }), ...call("/${{ secrets.TOKEN }}", { redirects: 0 })];
  await publishCalling("secret", { onSuccess });
  const w = await worker(deps, "w");
  const end = async (): Promise<string> => {
    const runId = await start(deps, "secret");
    const [claimed] = await claimAll(deps, w);
    await finish(deps, [success(claimed!)], "worker:w");
    return runId;
  };
  const missing = await end();
  await deliver();
  expect(heard).toEqual([]);
  const { rows } = await deps.pool.query<{ reason: string }>(
    "select reason from sluice.event where run_id = $1 and actor = 'callbacks'",
    [missing],
  );
  expect(rows).toHaveLength(2);
  for (const { reason } of rows) expect(reason).toContain('the secret "TOKEN" is not in');
  const store: SecretProvider = {
    place: "the store",
    get: async () => ({ ok: true, values: new Map([["TOKEN", "hunter2-hunter2"]]) }),
  };
  status = 503;
  await end();
  await deliver(store);
  expect(heard.map(({ path }) => path).toSorted()).toEqual(["/hunter2-hunter2", "/token"]);
  const { rows: jobs } = await deps.pool.query<{ output: string }>(
    "select output::text from sluice_boss.job where name = 'callbacks'",
  );
  expect(jobs.map(({ output }) => output).join()).toContain("503");
  expect(jobs.map(({ output }) => output).join()).not.toContain("hunter2");
});
