import { beforeEach, describe, expect, test } from "vitest";
import { readWorkloads } from "#lib/db/admission.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, moveClock, publish, runState, start, states, success, worker } from "#lib/testing/engine.ts";
import { admit, recordWaits } from "./admit.ts";
import { finish } from "./finish.ts";
import { cancelRun } from "./run-actions.ts";

const database = testDatabase();

beforeEach(async () => {
  await moveClock(database.deps, "0");
  await database.pool.query(
    "truncate sluice.dag_run, sluice.run_key, sluice.run_progress, sluice.task_instance, sluice.live_attempt, sluice.worker, sluice.event, sluice.attempt, sluice.pool, sluice.workload_wait, sluice_boss.job",
  );
});

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
  await recordWaits(database.deps);
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
    expect(await waits()).toEqual([{ code: "POOL_FULL", detail: { pool: "db", taken: 4, size: 5, wanted: 2 } }]);
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
    await deps.queue.ensureLanes([{ queue: "gpu", slotClass: "process" }]);
    await admit(deps);
    expect(await count(runId, "queued")).toBe(2);
    expect(await waits()).toEqual([]);
  });

  test("the candidates of a pass are as many as there is room, whatever is ready", async () => {
    const { deps } = database;
    await publishWide("window", 2_000, {});
    await start(deps, "window");
    await worker(deps, "w", 4);
    const [workload] = await readWorkloads(deps.pool);
    expect(workload).toMatchObject({ laneSlots: 4, laneFree: 0, candidates: [], hasMore: true });
  });
});
