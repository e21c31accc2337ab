import { beforeEach, describe, expect, test } from "vitest";
import { claimQueued, type WorkerRef } from "#lib/db/claims.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { putInQuarantine } from "#lib/db/quarantine.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { setWorkerState } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, registration, start, success } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { admitLeft } from "./admit.ts";
import { claim } from "./claim.ts";
import { finishAndContinue } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { registerWorker } from "./register-worker.ts";

/** What a worker claims although no admission has handed it over: where nothing has to be weighed. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const WIDTH = 12;

/** Tasks that wait for nothing, `<id>00` and so on. */
async function publishWide(id: string, { task = {}, ...dag }: { task?: object; limits?: object } = {}): Promise<void> {
  const tasks = Array.from({ length: WIDTH }, (_, n) => ({
    id: `${id}${String(n).padStart(2, "0")}`,
    type: "bash",
    config: { command: "true" },
    ...task,
  }));
  const spec = DagSpec.parse({ id, tasks, ...dag });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** A worker with runs of these DAGs, of which nothing is handed over. */
async function ready(...dags: string[]): Promise<WorkerRef> {
  return readyFor(4, ...dags);
}

async function readyFor(slots: number, ...dags: string[]): Promise<WorkerRef> {
  const { deps } = database;
  for (const dag of dags) await start(deps, dag);
  await laneIsWaitedFor();
  // Without the pass that a worker's registration asks for.
  return registerWorker({ ...deps, requestAdmission: () => Promise.resolve() }, registration("w", slots));
}

/** As a pass says that finds more ready than there is room for. */
async function laneIsWaitedFor(): Promise<void> {
  await database.pool.query(
    `insert into sluice.contention (key) select 'lane:' || id from sluice.lane
      where queue = 'default' and slot_class = 'process' on conflict do nothing`,
  );
}

const ids = (claimed: readonly { taskId: string }[]): string[] => claimed.map(({ taskId }) => taskId);

test("the oldest ready tasks of the only class in the lane, by their order, as attempts that were never queued", async () => {
  const { deps, pool } = database;
  await publishWide("a");
  const w = await readyFor(16, "a", "a");
  expect(ids(await claimSome(deps, w, 4))).toEqual(["a00", "a01", "a02", "a03"]);
  expect(ids(await claimSome(deps, w, WIDTH))).toEqual([
    ...Array.from({ length: 8 }, (_, n) => `a${String(n + 4).padStart(2, "0")}`),
    "a00",
    "a01",
    "a02",
    "a03",
  ]);
  const { rows } = await pool.query(
    `select distinct a.number, a.worker_id = 'w' as ours, a.queued_at = a.started_at and a.started_at = t.started_at as same,
            a.ready_at = t.ready_at and a.ready_at <= a.queued_at as ready, t.state, t.attempts
       from sluice.live_attempt a join sluice.task_instance t on t.id = a.task_instance_id`,
  );
  expect(rows).toEqual([{ number: 1, ours: true, same: true, ready: true, state: "running", attempts: 1 }]);
  const broken = (await inTx(pool, checkInvariants)).filter(({ broken: some }) => some.length > 0);
  expect(broken).toEqual([]);
});

test("what was handed over comes first, then what is ready", async () => {
  const { deps } = database;
  await publishWide("a");
  const w = await ready("a");
  await admitLeft(deps);
  const first = await claimSome(deps, w, 4);
  expect(ids(first)).toEqual(["a00", "a01", "a02", "a03"]);
  const ended = await finishAndContinue(deps, first.slice(0, 3).map(success), "worker:w");
  expect(ended.claimable).toEqual(["default.process"]);
  // One of them is handed over and not taken.
  expect(ids(await claimSome(deps, w, 3))).toEqual(["a04", "a05", "a06"]);
});

describe("nothing that has to be weighed:", () => {
  const expectNone = async (w: WorkerRef): Promise<void> => {
    expect(await claimSome(database.deps, w, 4)).toEqual([]);
  };

  test("before a pass has found that tasks wait for the lane", async () => {
    await publishWide("a");
    const w = await ready("a");
    await database.pool.query("truncate sluice.contention");
    await expectNone(w);
  });

  test("of two classes in the lane", async () => {
    await publishWide("a");
    await publishWide("b");
    await expectNone(await ready("a", "b"));
  });

  test.for([
    ["a pool", { task: { pool: "p" } }],
    ["resources", { task: { resources: { cpu: 1 } } }],
    ["a label", { task: { workerLabels: ["gpu"] } }],
    ["a limit of its DAG", { limits: { maxActiveTasks: 3 } }],
    ["a limit of its runs", { limits: { maxActiveTasksPerRun: 3 } }],
  ] as const)("of a class with %s", async ([, options]) => {
    await upsertPool(database.pool, "p", 3, undefined);
    await publishWide("limited", options);
    await expectNone(await ready("limited"));
  });

  test("under a limit of all", async () => {
    await publishWide("a");
    await setSystemLimit(database.pool, "max_active_tasks", 100);
    await expectNone(await ready("a"));
  });

  test.for(["group", "slot", "worker", "dag", "system"])("where something waits for its %s", async (kind) => {
    const { pool } = database;
    await publishWide("a");
    const w = await ready("a");
    const keys = { group: "group_id::text", slot: "group_id::text", worker: "'process:w'", dag: "'a'", system: "null" };
    await pool.query(
      `insert into sluice.contention (key)
       select concat_ws(':', $1::text, ${keys[kind as keyof typeof keys]}) from sluice.lane
        where queue = 'default' and slot_class = 'process'`,
      [kind],
    );
    await expectNone(w);
    await pool.query("delete from sluice.contention where key not like 'lane:%'");
    expect(await claimSome(database.deps, w, 4)).toHaveLength(4);
  });

  test("while another worker's share is handed over and not taken", async () => {
    const { deps, pool } = database;
    await publishWide("a");
    const w = await ready("a");
    await admitLeft(deps);
    const client = await pool.connect();
    try {
      await client.query("begin");
      await client.query("select from sluice.live_attempt for update");
      await expectNone(w);
    } finally {
      await client.query("rollback");
      client.release();
    }
  });

  test("of a run of which a person wants something, while something is in quarantine, by a worker that drains", async () => {
    const { pool } = database;
    await publishWide("a");
    const w = await ready("a");
    await pool.query(
      "insert into sluice.run_action (run_id, kind, actor) select id, 'kill', 'anna' from sluice.dag_run",
    );
    await expectNone(w);
    await pool.query("truncate sluice.run_action");
    await putInQuarantine(pool, "admit", "1", "it fails");
    await expectNone(w);
    await pool.query("truncate sluice.quarantine");
    await setWorkerState(pool, w, "draining");
    await expectNone(w);
  });
});

test("workers that claim at once share what is ready, each task once", async () => {
  const { deps } = database;
  await publishWide("a");
  const quiet = { ...deps, requestAdmission: () => Promise.resolve() };
  const workers = [await ready("a", "a", "a"), await registerWorker(quiet, registration("v", 4))];
  const claimed = await Promise.all(
    Array.from({ length: 20 }, (_, n) => claim(deps, workers[n % 2]!, LANES, [deps.newToken(), deps.newToken()])),
  );
  const taken = claimed.flatMap((each) => each.claimed.map(({ taskInstanceId }) => taskInstanceId));
  const rest = await claimSome(deps, workers[0]!, 100);
  expect(new Set([...taken, ...rest.map(({ taskInstanceId }) => taskInstanceId)]).size).toBe(3 * WIDTH);
  expect(taken.length + rest.length).toBe(3 * WIDTH);
});

const LANES = { queues: ["default"], slotClass: "process" } as const;

test("an end calls for a pass where something else waits for what falls free than what its worker may claim", async () => {
  const { deps, pool } = database;
  await publishWide("a");
  const w = await ready("a");
  await admitLeft(deps);
  const [one, two, three] = await claimSome(deps, w, 4);
  const passes: number[] = [];
  const counting = { ...deps, requestAdmission: async () => void passes.push(1) };
  expect((await finishAndContinue(counting, [success(one!)], "worker:w")).claimable).toEqual(["default.process"]);
  await deps.notifier.flush();
  expect(passes).toEqual([]);
  await pool.query("insert into sluice.contention (key) values ('system')");
  expect((await finishAndContinue(counting, [success(two!)], "worker:w")).claimable).toEqual([]);
  expect(passes).toEqual([1]);
  await publishWide("b");
  await pool.query("delete from sluice.contention where key = 'system'");
  await start(deps, "b");
  expect((await finishAndContinue(counting, [success(three!)], "worker:w")).claimable).toEqual([]);
  expect(passes).toEqual([1, 1]);
});

test("no pass waits for a claim, whose worker may stand still before it has read what it claimed", async () => {
  const { deps, pool } = database;
  await publishWide("a");
  await upsertPool(pool, "p", 3, undefined);
  await publishWide("pooled", { task: { pool: "p", queue: "other" } });
  const w = await ready("a");
  // Nor may the registration's pass hand over what is to be claimed.
  const quiet = { ...deps, requestAdmission: () => Promise.resolve() };
  await registerWorker(quiet, { ...registration("v", 4), queues: ["other"] });
  const tokens = Array.from({ length: 4 }, deps.newToken);
  const claimed = await held(deps, (tx) => claimQueued(tx, w, LANES, tokens, LEASE_MS));
  expect(claimed.result.claimed).toHaveLength(4);
  await start(deps, "pooled");
  await admitLeft(deps);
  const { rows } = await pool.query(
    `select count(*)::int as n from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
      where a.state = 'queued' and w.pool = 'p'`,
  );
  expect(rows).toEqual([{ n: 3 }]);
  await claimed.commit();
});

test("a task that only another worker may take does not keep this worker from ready tasks", async () => {
  const { deps, pool } = database;
  await publishWide("a");
  const w = await ready("a");
  await admitLeft(deps);
  await claimSome(deps, w, 4);
  await pool.query("update sluice.live_attempt set assigned_to = 'stopped' where state = 'queued'");
  await laneIsWaitedFor();
  expect(await claimSome(deps, w, 2)).toHaveLength(2);
});
