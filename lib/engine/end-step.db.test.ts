import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { lockRun } from "#lib/db/run-states.ts";
import { nothingBroken } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, success, worker } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { admitLeft } from "./admit.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseRun } from "./pause.ts";

/** The function for a step of a chain writes what the function for batches would, and takes nothing that it does not cover. */

const database = testDatabase();

/** Does `work` while the function does only what `instead` says, in PL/pgSQL. */
async function replaced<T>(name: string, instead: string, work: () => Promise<T>): Promise<T> {
  const { pool } = database;
  const { rows } = await pool.query<{ args: string }>(
    "select oidvectortypes(proargtypes) as args from pg_proc where oid = $1::regproc",
    [`sluice.${name}`],
  );
  const { args } = rows[0]!;
  await pool.query(`alter function sluice.${name}(${args}) rename to kept`);
  await pool.query(
    `create function sluice.${name}(${args}) returns sluice.ended language plpgsql as $$ begin ${instead}; end $$`,
  );
  try {
    return await work();
  } finally {
    await pool.query(`drop function sluice.${name}(${args})`);
    await pool.query(`alter function sluice.kept(${args}) rename to ${name}`);
  }
}

const TABLES = {
  task_instance: "id",
  live_attempt: "task_instance_id",
  attempt: "task_instance_id, number",
  event: "run_id, id",
  run_progress: "run_id",
  dag_run: "id",
  xcom: "task_instance_id, key",
  parent_ends: "task_instance_id",
  callback: "id",
};

/** All rows without what is of one run only: its number, random ids, and times, of which it matters whether there is one. */
async function rowsOf(runId: string): Promise<Record<string, unknown[]>> {
  const all: Record<string, unknown[]> = {};
  for (const [table, order] of Object.entries(TABLES)) {
    const { rows } = await database.pool.query<Record<string, unknown>>(
      `select * from sluice.${table} order by ${order}`,
    );
    all[table] = rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([column, value]) => [column, comparable(column, value, runId)])),
    );
  }
  return all;
}

/** Different in every run, whatever the engine does. */
const ANY = new Set(["id", "task_instance_id", "seq", "token", "worker_epoch", "version_id", "run_id"]);

function comparable(column: string, value: unknown, runId: string): unknown {
  if (value === null) return null;
  if (value instanceof Date) return "a time";
  const isNumber = typeof value === "string" && /^\d+$/.test(value);
  if (isNumber && BigInt(value) >> 20n === BigInt(runId)) return `slot ${BigInt(value) & 0xfffffn}`;
  return ANY.has(column) ? "another" : value;
}

type Scene = {
  tasks: Parameters<typeof publish>[2];
  /** Which of the claimed tasks end before, and which ends then. */
  before?: readonly string[];
  ends: string;
  how?: Partial<Finish>;
  meanwhile?: (runId: string) => Promise<unknown>;
  /** How many children continue, where that is what the scene is about. */
  continue?: number;
};

/** Returns what is there after the end, and what its caller was told. */
async function play(dagId: string, scene: Scene): Promise<unknown> {
  const { tasks, before = [], ends, how = {}, meanwhile } = scene;
  const { deps, pool } = database;
  await forgetRuns(deps);
  await publish(deps, dagId, tasks);
  await deps.pool.query("update sluice.dag set max_active_tasks = null, max_active_tasks_per_run = null");
  const w = await worker(deps, "w");
  const runId = await start(deps, dagId);
  const claimed = await claimAll(deps, w);
  const of = (taskId: string): Claimed => claimed.find((one) => one.taskId === taskId)!;
  for (const taskId of before) await finishRunning(pool, [success(of(taskId))], "worker:w", LEASE_MS);
  await meanwhile?.(runId);
  const end: Finish = { ...success(of(ends)), next: { attemptId: randomUUID(), token: randomUUID() }, ...how };
  const told = await finishRunning(pool, [end], "worker:w", LEASE_MS);
  await nothingBroken(deps);
  if (scene.continue !== undefined) expect(told.continued.size).toBe(scene.continue);
  const continued = [...told.continued.values()].map(
    ({ taskInstanceId: _, attemptId: __, token: ___, ...next }) => next,
  );
  return {
    ...told,
    accepted: told.accepted.length,
    continued,
    unsettledRuns: told.unsettledRuns.length,
    ...(await rowsOf(runId)),
  };
}

const CHAIN = { a: [], b: ["a"], c: ["b"] };
const SCENES: Record<string, Scene> = {
  "a child that continues": { tasks: CHAIN, ends: "a", continue: 1 },
  "a child and no slot for it": { tasks: CHAIN, ends: "a", how: { next: undefined }, continue: 0 },
  "a child that comes before its parent in the definition": { tasks: { b: ["a"], a: [] }, ends: "a" },
  "a child that waits for another parent": { tasks: { a: [], b: [], c: ["a", "b"] }, ends: "a" },
  "the last parent of a child": { tasks: { a: [], b: [], c: ["a", "b"] }, before: ["b"], ends: "a" },
  "a child of a paused run": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: (runId) => pauseRun(database.deps, runId, "anna"),
  },
  "what else waits": { tasks: { a: [], b: ["a"], other: [] }, ends: "a", meanwhile: () => another() },
  "a child under full limits": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: () => limits("max_active_tasks = 1, max_active_tasks_per_run = 1"),
  },
  "a child under limits that were lowered": {
    tasks: { a: [], b: ["a"], other: [] },
    ends: "a",
    meanwhile: () => limits("max_active_tasks = 1"),
  },
  "a child under a full system": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: () => setSystemLimit(database.pool, "max_active_tasks", 1),
  },
  "a child for whose limit others wait": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: () => waitedFor("'dag:' || id"),
    continue: 0,
  },
  "a child whose worker's slot others wait for": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: () => waitedFor("'worker:process:w'"),
    continue: 0,
  },
  "a child beside what waits for something else": {
    tasks: CHAIN,
    ends: "a",
    meanwhile: () => waitedFor("'pool:' || id"),
    continue: 1,
  },
  "no child": { tasks: { a: [], b: [] }, ends: "a" },
  "the run's last task": { tasks: { a: [] }, ends: "a" },
  outputs: { tasks: CHAIN, ends: "a", how: { output: "[1]", pushed: { key: '"value"' }, xcomTtlMs: 60_000 } },
  "what a process has used": { tasks: CHAIN, ends: "a", how: { exitCode: 0, usage: { peakMemoryBytes: 7, cpuMs: 3 } } },
  "a token that is not the live one": { tasks: CHAIN, ends: "a", how: { token: randomUUID() } },
};

/** The limit is full or exceeded by what is claimed already; a pass has counted it since it is what it is. */
async function limits(these: string): Promise<void> {
  await database.pool.query(`update sluice.dag set ${these}`);
  await admitLeft(database.deps);
}

/** A pass has written that a class waits for this, and of that class nothing is in the lane. */
async function waitedFor(key: string): Promise<void> {
  await database.pool.query(`insert into sluice.contention (key) select ${key} from sluice.dag on conflict do nothing`);
}

/** A run of the same DAG whose first task is ready and not admitted. */
async function another(): Promise<void> {
  const { rows } = await database.pool.query<{ dag_id: string }>("select dag_id from sluice.dag_run limit 1");
  await start(database.deps, rows[0]!.dag_id);
}

test.for(Object.entries(SCENES))("a step writes what a batch of one does: %s", async ([name, scene]) => {
  const dagId = name.replaceAll(/\W/g, "-");
  const asStep = await replaced("end_attempts", "raise 'not a step'", () => play(dagId, scene));
  const asBatch = await replaced("end_step", "return null", () => play(dagId, scene));
  expect(asStep).toEqual(asBatch);
});

test("an end of a run that is locked is no step, and is left busy", async () => {
  const { deps, pool } = database;
  await forgetRuns(deps);
  await publish(deps, "locked", CHAIN);
  const w = await worker(deps, "w");
  const runId = await start(deps, "locked");
  const [a] = await claimAll(deps, w);
  const lock = await held(deps, (tx) => lockRun(tx, runId));
  const told = await finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
  await lock.commit();
  expect(told).toMatchObject({ accepted: [], busy: [a!.taskInstanceId] });
});
