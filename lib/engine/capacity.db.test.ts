import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { readReadyClasses } from "#lib/db/admission-classes.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  publish,
  registration,
  runState,
  start,
  states,
  success,
  worker,
  forgetRuns,
  patrolAdmission,
} from "#lib/testing/engine.ts";
import { admit } from "./admit.ts";
import { claim } from "./claim.ts";
import { finish } from "./finish.ts";
import { pauseRun, resumeRun } from "./pause.ts";
import { registerWorker } from "./register-worker.ts";
import { cancelRun } from "./run-actions.ts";
import { handBackUnheard, sweep } from "./sweep.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

type Options = { limits?: object; task?: object; priority?: string };

async function publishWide(
  id: string,
  count: number,
  { limits = {}, task = {}, priority = "medium" }: Options,
): Promise<void> {
  const tasks = Array.from({ length: count }, (_, n) => ({
    id: `t${n}`,
    type: "bash",
    config: { command: "true" },
    ...task,
  }));
  const spec = DagSpec.parse({ id, limits, priority, tasks });
  await inTx(database.deps.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

async function count(runId: string, state: string): Promise<number> {
  return (await states(database.deps, runId)).filter((found) => found === state).length;
}

async function waits(): Promise<{ code: string; detail: object }[]> {
  await patrolAdmission(database.deps);
  const { rows } = await database.pool.query<{ code: string; detail: object }>(
    "select code, detail from sluice.workload_wait order by workload_id",
  );
  return rows;
}

describe("capacity", () => {
  test("a pool's slots are never exceeded, and what waits for them says so", async () => {
    const { deps } = database;
    await upsertPool(deps.pool, "db", 5, undefined);
    await publishWide("pooled", 10, { task: { pool: "db", slots: 2 } });
    const w = await worker(deps, "w");
    const runId = await start(deps, "pooled");
    expect(await count(runId, "queued")).toBe(2);
    expect(await waits()).toEqual([
      {
        code: "POOL_FULL",
        detail: { pool: "db", taken: 4, size: 5, wanted: 2, holders: [{ dagId: "pooled", taken: 4 }] },
      },
    ]);
    const [first] = await claimAll(deps, w);
    await finish(deps, [success(first!)], "worker:w");
    expect([await count(runId, "queued"), await count(runId, "running")]).toEqual([1, 1]);
    await upsertPool(deps.pool, "db", 10, undefined);
    await admit(deps);
    expect(await count(runId, "queued")).toBe(4);
  });

  test("a DAG's and a run's limits of tasks hold, over all runs", async () => {
    const { deps } = database;
    await publishWide("limited", 10, { limits: { maxActiveTasks: 5, maxActiveTasksPerRun: 3 } });
    await worker(deps, "w");
    const first = await start(deps, "limited");
    expect(await count(first, "queued")).toBe(3);
    expect((await waits()).map(({ code }) => code)).toEqual(["RUN_LIMIT"]);
    const second = await start(deps, "limited");
    expect(await count(second, "queued")).toBe(2);
    expect(await waits()).toEqual([{ code: "DAG_LIMIT", detail: { dagId: "limited", taken: 5, limit: 5 } }]);
  });

  test("runs beyond the limit are queued without tasks, and start in order as others end, however they end", async () => {
    const { deps } = database;
    await publishWide("runs", 1, { limits: { maxActiveRuns: 1 } });
    const w = await worker(deps, "w");
    const runs = [];
    for (let n = 0; n < 3; n++) runs.push(await start(deps, "runs"));
    expect(await Promise.all(runs.map((id) => runState(deps, id)))).toEqual(["running", "queued", "queued"]);
    expect(await states(deps, runs[1]!)).toEqual([]);
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await Promise.all(runs.map((id) => runState(deps, id)))).toEqual(["success", "running", "queued"]);
    await cancelRun(deps, runs[1]!, { actor: "anna" });
    expect(await Promise.all(runs.map((id) => runState(deps, id)))).toEqual(["success", "cancelled", "running"]);
  });

  test("a hundred starts at once respect the limit of active runs", async () => {
    const { deps } = database;
    await publishWide("burst", 1, { limits: { maxActiveRuns: 7 } });
    await Promise.all(Array.from({ length: 100 }, () => start(deps, "burst")));
    const { rows } = await database.pool.query(
      "select state, count(*)::int as n from sluice.dag_run group by 1 order by 1",
    );
    expect(rows).toEqual([
      { state: "queued", n: 93 },
      { state: "running", n: 7 },
    ]);
  });

  test("ten thousand ready tasks of one DAG do not keep another's first task waiting", async () => {
    const { deps } = database;
    await publishWide("big", 10_000, {});
    await publish(deps, "small", { only: [] });
    const w = await worker(deps, "w", 8);
    const big = await start(deps, "big");
    expect(await count(big, "queued")).toBe(10);
    const small = await start(deps, "small");
    const claimed = await claimAll(deps, w);
    await finish(deps, [success(claimed[0]!)], "worker:w");
    expect(await states(deps, small)).toEqual(["queued"]);
  });

  test("a queue that nobody serves is named; a worker that comes takes the tasks", async () => {
    const { deps } = database;
    await publishWide("gpu", 2, { task: { queue: "gpu" } });
    await worker(deps, "w");
    const runId = await start(deps, "gpu");
    expect(await waits()).toEqual([{ code: "NO_WORKER", detail: { lane: "gpu.process" } }]);
    expect(await count(runId, "ready")).toBe(2);
    await database.pool.query("update sluice.worker set queues = '{gpu}'");
    await admit(deps);
    expect(await count(runId, "queued")).toBe(2);
    expect(await waits()).toEqual([]);
  });

  test("a pass counts a class as far as there is room, whatever is ready", async () => {
    const { deps } = database;
    await publishWide("window", 2_000, {});
    await start(deps, "window");
    const { rows } = await deps.pool.query<{ id: number }>("select id from sluice.lane");
    const lanes = rows.map(({ id }) => ({ id, room: 2 }));
    expect((await readReadyClasses(deps.pool, deps.caches.classes, lanes, 0, [])).ready).toMatchObject([
      { dagId: "window", ready: 4, hasMore: true },
    ]);
  });

  test("the system's limit holds over all DAGs, and what waits for it says who has what", async () => {
    const { deps } = database;
    await setSystemLimit(deps.pool, "max_active_tasks", 3);
    await publishWide("one", 2, {});
    await publishWide("two", 5, {});
    const w = await worker(deps, "w");
    await start(deps, "one");
    const runId = await start(deps, "two");
    expect(await count(runId, "queued")).toBe(1);
    const holders = [
      { dagId: "one", taken: 2 },
      { dagId: "two", taken: 1 },
    ];
    expect(await waits()).toEqual([{ code: "SYSTEM_LIMIT", detail: { taken: 3, limit: 3, holders } }]);
    // Lowered below what runs: a slot that falls free is not passed on.
    const claimed = await claimAll(deps, w);
    await setSystemLimit(deps.pool, "max_active_tasks", 1);
    await finish(deps, [success(claimed[0]!)], "worker:w");
    expect([await count(runId, "ready"), (await waits())[0]!.code]).toEqual([4, "SYSTEM_LIMIT"]);
    await setSystemLimit(deps.pool, "max_active_tasks", null);
    await admit(deps);
    expect(await count(runId, "ready")).toBe(0);
  });

  test("a task that asks for memory is given to one worker, which alone can take it", async () => {
    const { deps } = database;
    await publishWide("heavy", 3, { task: { resources: { memory: "2Gi" } } });
    const w = await worker(deps, "w");
    const other = await worker(deps, "other");
    await deps.pool.query("update sluice.worker set memory = 1024 where id = 'other'");
    const runId = await start(deps, "heavy");
    // 4 GiB, two tasks.
    expect(await count(runId, "queued")).toBe(2);
    expect((await waits()).map(({ code }) => code)).toEqual(["RESOURCES_TAKEN"]);
    expect(await claimAll(deps, other)).toEqual([]);
    expect((await renewLeases(deps.pool, w, [], 30_000)).assigned).toEqual(["process"]);
    expect((await renewLeases(deps.pool, other, [], 30_000)).assigned).toEqual([]);
    const claimed = await claimAll(deps, w);
    expect(claimed).toHaveLength(2);
    await finish(deps, [success(claimed[0]!)], "worker:w");
    expect([await count(runId, "running"), await count(runId, "queued")]).toEqual([1, 1]);
  });

  test("a task that needs a label waits for a worker that has it, and says so", async () => {
    const { deps } = database;
    await publishWide("labelled", 1, { task: { workerLabels: ["gpu", "null"] } });
    await publishWide("plain", 1, {});
    const plain = await worker(deps, "plain");
    const runId = await start(deps, "labelled");
    await start(deps, "plain");
    expect(await waits()).toEqual([
      { code: "NO_WORKER_OFFERS", detail: { lane: "default.process", needs: ["gpu", "null"], versions: ["0.0.0"] } },
    ]);
    expect(await claimAll(deps, plain)).toHaveLength(1);
    await registerWorker(deps, { ...registration("gpu"), offers: ["gpu", "null", "type:docker"] });
    expect(await count(runId, "queued")).toBe(1);
    expect(await claimAll(deps, plain)).toEqual([]);
    // Started again without its label.
    const lesser = await registerWorker(deps, registration("gpu"));
    expect(await claimAll(deps, lesser)).toEqual([]);
    await sweep(deps);
    expect(await count(runId, "ready")).toBe(1);
    const again = await registerWorker(deps, { ...registration("gpu"), offers: ["gpu", "null", "type:docker"] });
    expect(await claimAll(deps, again)).toHaveLength(1);
  });

  test("what was handed over to a worker that has gone waits again, with its reason and the same number", async () => {
    const { deps } = database;
    await publishWide("left", 2, { task: { resources: { cpu: 1 } } });
    await publishWide("plain", 2, {});
    const w = await worker(deps, "w");
    const [left, plain] = [await start(deps, "left"), await start(deps, "plain")];
    expect([await count(left, "queued"), await count(plain, "queued")]).toEqual([2, 2]);
    await sweep(deps);
    expect([await count(left, "queued"), await count(plain, "queued")]).toEqual([2, 2]);
    await setWorkerState(deps.pool, w, "stopped");
    await sweep(deps);
    expect([await count(left, "ready"), await count(plain, "ready")]).toEqual([2, 2]);
    expect((await waits()).map(({ code }) => code)).toEqual(["NO_WORKER", "NO_WORKER"]);
    const again = await worker(deps, "again");
    expect([await count(left, "queued"), await count(plain, "queued")]).toEqual([2, 2]);
    const claimed = await claimAll(deps, again);
    expect(claimed.map(({ number }) => number)).toEqual([1, 1, 1, 1]);
  });

  test("pausing takes back what no worker has taken yet; what runs goes on", async () => {
    const { deps } = database;
    await publishWide("paused", 3, {});
    const w = await worker(deps, "w");
    const runId = await start(deps, "paused");
    await claimSome(deps, w, 1);
    await pauseRun(deps, runId, "anna");
    expect([await count(runId, "running"), await count(runId, "ready")]).toEqual([1, 2]);
    expect(await claimAll(deps, w)).toEqual([]);
    await resumeRun(deps, runId);
    expect(await claimAll(deps, w)).toHaveLength(2);
  });

  test("what was claimed by a call whose answer never came starts again without counting as lost", async () => {
    const { deps } = database;
    await publishWide("unheard", 2, {});
    const w = await worker(deps, "w");
    const runId = await start(deps, "unheard");
    const tokens = [randomUUID(), randomUUID()];
    const lanes = { queues: ["default"], slotClass: "process" } as const;
    await claim(deps, w, lanes, tokens.slice(0, 1));
    const { claimed: known } = await claim(deps, w, lanes, tokens.slice(1));
    await handBackUnheard(deps, w, [tokens[0]!, randomUUID()]);
    expect([await count(runId, "running"), await count(runId, "queued")]).toEqual([1, 1]);
    await finish(deps, [success(known[0]!)], "worker:w");
    expect((await claimAll(deps, w)).map(({ number }) => number)).toEqual([2]);
    const { rows } = await database.pool.query("select max(lost_attempts) as lost from sluice.task_instance");
    expect(rows).toEqual([{ lost: 0 }]);
  });
});
