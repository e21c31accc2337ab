import { beforeEach, describe, expect, test } from "vitest";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { SUSPECT_AFTER } from "#lib/db/lost-attempts.ts";
import { findSituation } from "#lib/db/situation-reads.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { whySentence } from "#lib/domain/why.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimSome,
  forgetRuns,
  keepsLease,
  publish,
  registration,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { admitLeft } from "./admit.ts";
import { claim } from "./claim.ts";
import type { EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { registerWorker } from "./register-worker.ts";
import { LOST_ALLOWANCE } from "./lease.ts";
import { clearRun } from "./run-actions.ts";
import { sweepAll, takeBackExpired } from "./sweep.ts";

/** Which of the tasks that ran on a worker that died is what kills workers, and that the others do not fail for it. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

type Process = { ref: WorkerRef; held: Map<string, { claimed: Claimed; turns: number }> };

type Scene = {
  tasks: number;
  workers: number;
  slots: number;
  /** Turns that a task takes: so many it must be there in a row. */
  length: number;
  /** Places of tasks in the DAG whose worker dies in the turn in which they begin. */
  poison: readonly number[];
  /** Turns at whose end a worker dies by itself, and which one. */
  deaths?: Readonly<Record<number, number>>;
  /** A worker that dies starts again under its name, or its leases run out. */
  isRestarted: boolean;
};

type Played = { states: string[]; deaths: number; most: number; lost: number[] };

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter(({ broken: rows, id }) => rows.length > 0 && id.startsWith("suspects")).map(({ id }) => id);
}

async function die(process: Process, isRestarted: boolean, slots: number): Promise<void> {
  const { deps, pool } = database;
  const { id, epoch } = process.ref;
  process.held.clear();
  if (!isRestarted) {
    const over = "set lease_until = sluice.clock() - interval '1 s'";
    await pool.query(`update sluice.live_attempt ${over} where worker_id = $1 and worker_epoch = $2`, [id, epoch]);
    await pool.query(`update sluice.worker ${over} where id = $1 and epoch = $2`, [id, epoch]);
    await takeBackExpired(deps, 0);
  }
  process.ref = await worker(deps, id, slots);
  await keepsLease(deps, process.ref);
}

/** Plays a run of a DAG without edges to its end, turn by turn. */
async function play(scene: Scene): Promise<Played> {
  const { deps, pool } = database;
  const { tasks, workers, slots, length, poison, deaths = {}, isRestarted } = scene;
  await publish(deps, "scene", Object.fromEntries(Array.from({ length: tasks }, (_, n) => [`t${n}`, []])));
  const processes: Process[] = [];
  for (let n = 0; n < workers; n++) {
    const ref = await worker(deps, `w${n}`, slots);
    await keepsLease(deps, ref);
    processes.push({ ref, held: new Map() });
  }
  const runId = await start(deps, "scene");
  const isPoison = (id: string): boolean => poison.includes(Number(BigInt(id) & 1_048_575n));
  const played: Played = { states: [], deaths: 0, most: 0, lost: [] };
  for (let turn = 0; (await runState(deps, runId)) === "running"; turn++) {
    await sweepAll(deps);
    await admitLeft(deps);
    for (const process of processes)
      for (const claimed of await claimSome(deps, process.ref, slots - process.held.size))
        process.held.set(claimed.taskInstanceId, { claimed, turns: 0 });
    await pool.query(
      "update sluice.live_attempt set lease_until = sluice.clock() + interval '1 hour' where state = 'running'",
    );
    expect(await broken()).toEqual([]);
    for (const [at, process] of processes.entries()) {
      if ([...process.held.keys()].some(isPoison) || deaths[turn] === at) {
        played.deaths++;
        await die(process, isRestarted, slots);
        continue;
      }
      const over = [...process.held.values()].filter((one) => ++one.turns >= length).map(({ claimed }) => claimed);
      await finish(deps, over.map(success), `worker:${process.ref.id}`);
      for (const { taskInstanceId } of over) process.held.delete(taskInstanceId);
    }
  }
  played.states = await states(deps, runId);
  const { rows } = await pool.query<{ lost: number }>(
    "select lost_attempts as lost from sluice.task_instance order by id",
  );
  played.lost = rows.map(({ lost }) => lost);
  return played;
}

const others = <T>(all: readonly T[], poison: readonly number[]): T[] => all.filter((_, n) => !poison.includes(n));

describe("one task of a hundred kills its worker each time", () => {
  for (const [workers, isRestarted] of [
    [1, true],
    [3, true],
    [3, false],
  ] as const)
    test(`it fails after ${LOST_ALLOWANCE + 1} deaths, all others succeed: ${workers} workers that ${isRestarted ? "start again" : "are replaced"}`, async () => {
      const poison = [17];
      const played = await play({ tasks: 101, workers, slots: 8, length: 3, poison, isRestarted });
      expect(played.states[17]).toBe("failed");
      expect(new Set(others(played.states, poison))).toEqual(new Set(["success"]));
      expect(played.deaths).toBe(LOST_ALLOWANCE + 1);
      // As long as it is not suspect itself it takes others along, and then none of them twice.
      expect(Math.max(...others(played.lost, poison))).toBeLessThanOrEqual(SUSPECT_AFTER);
    }, 120_000);

  test("two of them do, and the same holds", async () => {
    const poison = [3, 40];
    const played = await play({ tasks: 60, workers: 2, slots: 8, length: 3, poison, isRestarted: true });
    expect(poison.map((n) => played.states[n])).toEqual(["failed", "failed"]);
    expect(new Set(others(played.states, poison))).toEqual(new Set(["success"]));
    expect(played.deaths).toBeLessThanOrEqual(2 * (LOST_ALLOWANCE + 1));
  }, 120_000);
});

test("five deaths that no task is the cause of fail none, whoever was there each time", async () => {
  const deaths = { 1: 0, 3: 0, 5: 0, 7: 0, 9: 0 };
  const played = await play({ tasks: 4, workers: 1, slots: 4, length: 4, poison: [], deaths, isRestarted: true });
  expect(played).toMatchObject({ deaths: 5, states: ["success", "success", "success", "success"] });
});

/** Two tasks of different slot classes, which one worker claims in two calls; both have lost so many workers. */
async function twoSuspects(): Promise<{ runId: string; ids: string[] }> {
  const { deps, pool } = database;
  const bash = { id: "a", type: "bash", config: { command: "true" } };
  const spec = DagSpec.parse({ id: "two", tasks: [bash, { id: "b", type: "noop", config: {} }] });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "two.yaml", source: "", author: "test" }));
  const runId = await start(deps, "two");
  await admitLeft(deps);
  await pool.query("update sluice.task_instance set lost_attempts = $1", [SUSPECT_AFTER]);
  const { rows } = await pool.query<{ id: string }>("select id from sluice.task_instance order by id");
  return { runId, ids: rows.map(({ id }) => id) };
}

const claimOf = async (deps: EngineDeps, ref: WorkerRef, slotClass: "process" | "inline"): Promise<string[]> => {
  const { claimed } = await claim(deps, ref, { queues: ["default"], slotClass }, [deps.newToken(), deps.newToken()]);
  return claimed.map(({ taskInstanceId }) => taskInstanceId);
};

test("two claims of one worker at once take one suspect task between them, and another worker the other one", async () => {
  const { deps, pool } = database;
  const [w, other] = [await worker(deps, "w"), await worker(deps, "other")];
  const { ids } = await twoSuspects();
  await inTx(pool, async (tx) => {
    expect(await claimOf({ ...deps, pool: tx } as unknown as EngineDeps, w, "process")).toEqual([ids[0]]);
    expect(await claimOf(deps, w, "inline")).toEqual([]);
  });
  expect(await claimOf(deps, w, "inline")).toEqual([]);
  expect(await broken()).toEqual([]);
  expect(await claimOf(deps, other, "inline")).toEqual([ids[1]]);
});

/** A run whose tasks are ready, suspect and apart. */
async function startApart(dagId: string): Promise<string> {
  const { deps, pool } = database;
  // While no worker is active the start admits nothing.
  await pool.query("update sluice.worker set state = 'draining'");
  const runId = await start(deps, dagId);
  const lost = "set lost_attempts = $1, waits_apart = true where run_id = $2 and state = 'ready'";
  await pool.query(`update sluice.task_instance ${lost}`, [SUSPECT_AFTER, runId]);
  await pool.query("update sluice.worker set state = 'active'");
  return runId;
}

/** A run of so many tasks in each of these queues, all of them suspect and apart; their ids by queue, in their order. */
async function apartIn(queues: Readonly<Record<string, number>>): Promise<Record<string, string[]>> {
  const { pool } = database;
  const tasks = Object.entries(queues).flatMap(([queue, count]) =>
    Array.from({ length: count }, (_, n) => ({ id: `${queue}${n}`, type: "bash", queue, config: { command: "true" } })),
  );
  const spec = DagSpec.parse({ id: "queues", tasks });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "queues.yaml", source: "", author: "test" }));
  await startApart("queues");
  const { rows } = await pool.query<{ id: string; queue: string }>(
    "select t.id, l.queue from sluice.task_instance t join sluice.lane l on l.id = t.lane_id order by t.id",
  );
  return Object.fromEntries(
    Object.keys(queues).map((queue) => [queue, rows.filter((row) => row.queue === queue).map(({ id }) => id)]),
  );
}

async function workerOf(id: string, queue: string): Promise<WorkerRef> {
  const ref = await registerWorker(database.deps, { ...registration(id), queues: [queue] });
  await keepsLease(database.deps, ref);
  return ref;
}

async function takes(ref: WorkerRef, queue: string): Promise<string[]> {
  const { deps } = database;
  const lane = { queues: [queue], slotClass: "process" } as const;
  const { claimed } = await claim(deps, ref, lane, [deps.newToken(), deps.newToken()]);
  return claimed.map(({ taskInstanceId }) => taskInstanceId);
}

test("suspect tasks of one queue do not keep those of another from the worker that serves it", async () => {
  const { deps, pool } = database;
  const [gpu, other] = [await workerOf("g", "gpu"), await workerOf("d", "default")];
  const ids = await apartIn({ gpu: 3, default: 2 });
  const since = "sluice.clock() - interval '3 minutes'";
  await pool.query(`update sluice.worker set started_at = ${since}`);
  await pool.query(`update sluice.task_instance set ready_at = ${since}`);
  expect(await broken()).toEqual(["suspects-go"]);
  await sweepAll(deps);
  await admitLeft(deps);
  expect(await takes(gpu, "gpu")).toEqual([ids["gpu"]![0]]);
  expect(await takes(other, "default")).toEqual([ids["default"]![0]]);
  await sweepAll(deps);
  const { rows } = await pool.query<{ id: string }>(
    "select id from sluice.task_instance where waits_apart order by id",
  );
  expect(rows.map(({ id }) => id).toSorted()).toEqual([...ids["gpu"]!.slice(1), ids["default"]![1]!].toSorted());
  // Those that wait have no worker that runs none.
  expect(await broken()).toEqual([]);
});

test("a worker that has no slots for a lane lets none of its suspect tasks go", async () => {
  const { deps, pool } = database;
  await workerOf("w", "default");
  await pool.query("update sluice.worker set process_slots = 0");
  await apartIn({ default: 2 });
  await sweepAll(deps);
  const { rows } = await pool.query("select from sluice.task_instance where waits_apart");
  expect(rows).toHaveLength(2);
});

test("a suspect task that only another worker may take, or none for now, keeps none from this one", async () => {
  const { deps, pool } = database;
  const [a, b, c, d] = [
    await workerOf("a", "default"),
    await workerOf("b", "default"),
    await workerOf("c", "default"),
    await workerOf("d", "default"),
  ];
  const ids = (await apartIn({ default: 4 }))["default"]!;
  await sweepAll(deps);
  await admitLeft(deps);
  expect(await takes(b, "default")).toEqual([ids[0]]);
  await pool.query("update sluice.live_attempt set assigned_to = 'b' where task_instance_id = $1", [ids[1]]);
  expect(await takes(a, "default")).toEqual([ids[2]]);
  expect(await takes(b, "default")).toEqual([]);
  // What is assigned to a worker that no longer offers what it needs.
  const assign = "update sluice.live_attempt set assigned_to = 'c' where task_instance_id = $1";
  await pool.query(assign, [ids[1]]);
  const needs =
    "update sluice.workload set needs = $1 where id = (select workload_id from sluice.task_instance where id = $2)";
  await pool.query(needs, [["big"], ids[1]]);
  expect(await takes(c, "default")).toEqual([ids[3]]);
  expect(await takes(d, "default")).toEqual([]);
  await pool.query("update sluice.live_attempt set assigned_to = 'd' where task_instance_id = $1", [ids[1]]);
  await pool.query("update sluice.worker set offers = '{big}' where id = 'd'");
  expect(await takes(d, "default")).toEqual([ids[1]]);
  expect(await broken()).toEqual([]);
});

test("a suspect task whose run is being changed keeps none of another run from a worker", async () => {
  const { deps, pool } = database;
  const w = await workerOf("w", "default");
  await workerOf("other", "default");
  const changed = (await apartIn({ default: 1 }))["default"]!;
  const runId = await startApart("queues");
  await sweepAll(deps);
  await admitLeft(deps);
  await pool.query("insert into sluice.run_action (run_id, kind, actor) values ($1, 'cancel', 'anna')", [
    String(BigInt(changed[0]!) >> 20n),
  ]);
  expect(await takes(w, "default")).toEqual([String(BigInt(runId) << 20n)]);
});

test("the database and the engine mean the same by a suspect task", async () => {
  await worker(database.deps, "w");
  await twoSuspects();
  const suspects = async (lost: number): Promise<boolean[]> => {
    const set = "update sluice.task_instance set lost_attempts = $1 returning suspect";
    return (await database.pool.query<{ suspect: boolean }>(set, [lost])).rows.map(({ suspect }) => suspect);
  };
  expect(await suspects(SUSPECT_AFTER - 1)).toEqual([false, false]);
  expect(await suspects(SUSPECT_AFTER)).toEqual([true, true]);
  // Each claim looks for them: those that have ended are not among them.
  await database.pool.query("update sluice.task_instance set state = 'cancelled', ended_at = sluice.clock()");
  expect(await suspects(SUSPECT_AFTER)).toEqual([false, false]);
});

test("the doctor finds two of them on one worker, and one that is not let go", async () => {
  const { deps, pool } = database;
  const w = await worker(deps, "w");
  await keepsLease(deps, w);
  const { ids } = await twoSuspects();
  await pool.query("update sluice.task_instance set lost_attempts = 0");
  for (const slotClass of ["process", "inline"] as const) await claimOf(deps, w, slotClass);
  expect(await broken()).toEqual([]);
  await pool.query("update sluice.task_instance set lost_attempts = $1", [SUSPECT_AFTER]);
  expect(await broken()).toEqual(["suspects-apart"]);
  await pool.query("delete from sluice.live_attempt");
  await pool.query("update sluice.task_instance set state = 'cancelled', ended_at = sluice.clock() where id = $1", [
    ids[1],
  ]);
  const since = "sluice.clock() - interval '3 minutes'";
  await pool.query(
    `update sluice.task_instance set state = 'ready', waits_apart = true, ready_at = ${since} where id = $1`,
    [ids[0]],
  );
  await pool.query(`update sluice.worker set started_at = ${since}`);
  expect(await broken()).toEqual(["suspects-go"]);
});

test("who asks why is told, and a person who clears the task has it begin to count anew", async () => {
  const { deps, pool } = database;
  const { runId, ids } = await twoSuspects();
  await pool.query("update sluice.task_instance set state = 'ready', waits_apart = true");
  await pool.query("delete from sluice.live_attempt");
  const why = async (): Promise<string> => whySentence((await findSituation(pool, ids[0]!))!);
  expect(await why()).toContain(`it has lost its worker ${SUSPECT_AFTER} times, and waits until`);
  await clearRun(deps, runId, {}, { actor: "anna", reason: "a test" });
  const { rows } = await pool.query("select lost_attempts as lost, waits_apart as apart from sluice.task_instance");
  expect(rows).toEqual([
    { lost: 0, apart: false },
    { lost: 0, apart: false },
  ]);
});
