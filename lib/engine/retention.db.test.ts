import { beforeEach, describe, expect, test } from "vitest";
import { checkInvariants } from "#lib/db/invariants.ts";
import {
  defaultKeepDays,
  dropGeneration,
  enterGenerations,
  type Generation,
  listGenerations,
  markEmpty,
  openGeneration,
  setDefaultKeepDays,
} from "#lib/db/generations.ts";
import { readSizes, sampleSizes } from "#lib/db/table-sizes.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, moveClock, runState, start, success, worker } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { publishScheduled } from "#lib/testing/schedules.ts";
import { finish } from "./finish.ts";
import { deleteExpired, dropEmpty, rotateGenerations } from "./retention.ts";
import { clearRun } from "./run-actions.ts";

const database = testDatabase();
/** What tells a run's rows in each: plain tables, and those in generations. */
const RUN_TABLES = { dag_run: "id", run_progress: "run_id", run_key: "run_id", task_instance: "run_id" };
const HISTORY_TABLES = {
  dead_letter: "task_instance_id >> 20",
  xcom: "task_instance_id >> 20",
  attempt: "task_instance_id >> 20",
  event: "run_id",
  task_log: "task_instance_id >> 20",
};

/** Small generations, all of them new. */
beforeEach(async () => {
  const { deps, pool } = database;
  await moveClock(deps, "0");
  await pool.query("update sluice.retention set generation_runs = 1000, keep_days = 30");
  for (const { keepDays, closedAt } of await listGenerations(pool))
    if (closedAt === null) await openGeneration(pool, keepDays);
  await enterGenerations(pool);
});

async function generationOf(runId: string): Promise<Generation> {
  const all = await listGenerations(database.pool);
  return all.find(({ firstRun, endRun }) => BigInt(runId) >= BigInt(firstRun) && BigInt(runId) < BigInt(endRun))!;
}

/** A run that has come to its end, with a log. */
async function ended(dagId: string): Promise<string> {
  const { deps } = database;
  const w = await worker(deps, "w");
  const runId = await start(deps, dagId);
  for (const attempt of await claimAll(deps, w)) {
    const { taskInstanceId, number, token } = attempt;
    await deps.logs.append([
      { taskInstanceId, number, token, seq: 0, stream: "stdout", bytes: Buffer.from("hello\n") },
    ]);
    await finish(deps, [{ ...success(attempt), output: "1" }], "worker:w");
  }
  expect(await runState(deps, runId)).toBe("success");
  return runId;
}

const exists = async (runId: string): Promise<boolean> =>
  (await database.pool.query("select from sluice.dag_run where id = $1", [runId])).rowCount === 1;

async function partitionsOf({ number }: Generation): Promise<string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    "select relname as name from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'sluice' and relkind = 'r' and relname ~ $1 order by 1",
    [`_g${number}$`],
  );
  return rows.map(({ name }) => name.replace(`_g${number}`, ""));
}

describe("generations", () => {
  test("follow each other when they are a quarter of their time old, and have runs; later runs have larger ids", async () => {
    const { deps } = database;
    await publishScheduled(deps, "weekly-turn", { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] });
    const first = await start(deps, "weekly-turn");
    await moveClock(deps, "7 days");
    await rotateGenerations(deps);
    const same = await start(deps, "weekly-turn");
    expect((await generationOf(same)).number).toBe((await generationOf(first)).number);
    await moveClock(deps, "8 days");
    await rotateGenerations(deps);
    const second = await start(deps, "weekly-turn");
    expect((await generationOf(second)).number).toBeGreaterThan((await generationOf(first)).number);
    expect(BigInt(second)).toBeGreaterThan(BigInt(same));
    expect(second).toBe((await generationOf(second)).firstRun);
    await moveClock(deps, "9 days");
    await rotateGenerations(deps);
    const before = (await listGenerations(deps.pool)).length;
    await rotateGenerations(deps);
    expect((await listGenerations(deps.pool)).length).toBe(before);
  });

  test("are followed by another when they are more than half full, while runs start at the same time", async () => {
    const { deps, pool } = database;
    await pool.query("update sluice.retention set generation_runs = 40");
    await openGeneration(pool, 30);
    await enterGenerations(pool);
    await publishScheduled(deps, "crowd", { limits: { maxActiveRuns: 1 } });
    const ids: string[] = [];
    for (let n = 0; n < 15; n++) {
      const [started] = await Promise.all([
        Promise.all(Array.from({ length: 10 }, () => start(deps, "crowd"))),
        rotateGenerations(deps),
        rotateGenerations(deps),
      ]);
      ids.push(...started);
    }
    expect(new Set(ids).size).toBe(150);
    const used = new Set(await Promise.all(ids.map(async (id) => (await generationOf(id)).number)));
    expect(used.size).toBeGreaterThan(3);
  });

  test("what was opened by a process that died is entered by the next", async () => {
    const { deps, pool } = database;
    await publishScheduled(deps, "died", {});
    const number = await openGeneration(pool, 30);
    expect((await generationOf(await start(deps, "died"))).number).toBeLessThan(number);
    await rotateGenerations(deps);
    expect((await generationOf(await start(deps, "died"))).number).toBe(number);
  });
});

describe("a DAG's own time", () => {
  test("is a class of its own, and a DAG that changes its class keeps the order of its runs", async () => {
    const { deps } = database;
    await publishScheduled(deps, "own", { retention: "90d" });
    const first = await start(deps, "own");
    expect((await generationOf(first)).keepDays).toBe(90);
    await publishScheduled(deps, "own", { retention: "7d" });
    const second = await start(deps, "own");
    expect((await generationOf(second)).keepDays).toBe(7);
    await publishScheduled(deps, "own", { retention: "90d" });
    await rotateGenerations(deps);
    const third = await start(deps, "own");
    expect((await generationOf(third)).keepDays).toBe(90);
    expect([first, second, third].map(BigInt)).toEqual(
      [first, second, third].map(BigInt).toSorted((a, b) => (a < b ? -1 : 1)),
    );
  });

  test("of all DAGs that say nothing may be changed", async () => {
    const { deps, pool } = database;
    await publishScheduled(deps, "default", {});
    const before = await start(deps, "default");
    await inTx(pool, (tx) => setDefaultKeepDays(tx, 365));
    await rotateGenerations(deps);
    const after = await start(deps, "default");
    expect((await generationOf(after)).keepDays).toBe(365);
    expect(BigInt(after)).toBeGreaterThan(BigInt(before));
    expect(await defaultKeepDays(pool)).toBe(365);
  });
});

const BASH = { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] };

/** What a scheduler does in time. */
async function pass(): Promise<void> {
  await deleteExpired(database.deps);
  await dropEmpty(database.deps);
}

/** A run in a generation that is closed eight days later. */
async function oldRun(dagId: string): Promise<{ runId: string; generation: Generation }> {
  await publishScheduled(database.deps, dagId, BASH);
  const runId = await ended(dagId);
  await moveClock(database.deps, "8 days");
  await rotateGenerations(database.deps);
  return { runId, generation: await generationOf(runId) };
}

describe("a run is deleted", () => {
  test("as long after its end as its DAG said, whatever else is in its generation", async () => {
    const { deps, pool } = database;
    await publishScheduled(deps, "old", BASH);
    const runId = await ended("old");
    await publishScheduled(deps, "week", { ...BASH, retention: "7d" });
    const short = await ended("week");
    await moveClock(deps, "6 days");
    const late = await ended("old");
    expect((await generationOf(late)).number).toBe((await generationOf(runId)).number);
    await pass();
    expect([await exists(runId), await exists(short)]).toEqual([true, true]);
    await moveClock(deps, "8 days");
    await pass();
    expect([await exists(runId), await exists(short)]).toEqual([true, false]);
    await moveClock(deps, "31 days");
    await pass();
    expect([await exists(runId), await exists(late)]).toEqual([false, true]);
    for (const [table, key] of Object.entries(RUN_TABLES))
      expect((await pool.query(`select from sluice.${table} where ${key} = $1`, [runId])).rowCount).toBe(0);
    expect((await pool.query("select from sluice.run_deletion")).rowCount).toBe(0);
    expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("not while it goes on, also when it was brought back", async () => {
    const { deps } = database;
    const { runId } = await oldRun("revived");
    await clearRun(deps, runId, {}, { actor: "anna" });
    await moveClock(deps, "60 days");
    await pass();
    expect(await runState(deps, runId)).toBe("running");
  });
});

describe("a generation's history is dropped", () => {
  test("when it is closed and its last run is gone, and not before", async () => {
    const { deps, pool } = database;
    const { runId, generation } = await oldRun("history");
    await moveClock(deps, "10 days");
    const late = await ended("history");
    await moveClock(deps, "29 days");
    await pass();
    expect(await partitionsOf(generation)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
    await moveClock(deps, "39 days");
    await pass();
    expect(await exists(runId)).toBe(false);
    expect(await partitionsOf(generation)).toEqual([]);
    expect((await listGenerations(pool)).map(({ number }) => number)).not.toContain(generation.number);
    for (const [table, key] of Object.entries({ ...RUN_TABLES, ...HISTORY_TABLES }))
      expect((await pool.query(`select from sluice.${table} where ${key} = $1`, [runId])).rowCount).toBe(0);
    expect(await exists(late)).toBe(true);
    expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });

  test("completely also after a process has died at any point of it", async () => {
    const { deps, pool } = database;
    const { runId, generation } = await oldRun("halves");
    await moveClock(deps, "60 days");
    await deleteExpired(deps);
    await markEmpty(pool);
    const n = generation.number;
    // Dropped, only detached, detached half-way (which only the catalog can tell), and not begun.
    await pool.query(`alter table sluice.event detach partition sluice.event_g${n} concurrently`);
    await pool.query(`drop table sluice.event_g${n}`);
    await pool.query(`alter table sluice.xcom detach partition sluice.xcom_g${n} concurrently`);
    const reader = await held(deps, (tx) => tx.query("select count(*) from sluice.attempt"));
    const impatient = await pool.connect();
    await impatient.query("set statement_timeout = 100");
    await expect(
      impatient.query(`alter table sluice.attempt detach partition sluice.attempt_g${n} concurrently`),
    ).rejects.toThrow("statement timeout");
    await impatient.query("reset statement_timeout");
    impatient.release();
    await reader.commit();
    await dropEmpty(deps);
    expect(await partitionsOf(generation)).toEqual([]);
    expect((await listGenerations(pool)).map(({ number }) => number)).not.toContain(n);
    expect(await exists(runId)).toBe(false);
  });

  test("by one scheduler at a time, and no session that runs tasks waits for it", async () => {
    const { deps } = database;
    const { runId, generation } = await oldRun("busy");
    await moveClock(deps, "60 days");
    await publishScheduled(deps, "going", BASH);
    await deleteExpired(deps);
    // A reader of all of it keeps the drop waiting, and no other session.
    const reader = await held(deps, (tx) => tx.query("select count(*) from sluice.event, sluice.attempt"));
    const dropping = Promise.all([dropEmpty(deps), dropEmpty(deps)]);
    await waitsForSnapshot();
    const began = performance.now();
    const another = await ended("going");
    await rotateGenerations(deps);
    expect(performance.now() - began).toBeLessThan(1_500);
    await reader.commit();
    await dropping;
    expect(await exists(runId)).toBe(false);
    expect(await exists(another)).toBe(true);
    expect(await partitionsOf(generation)).toEqual([]);
    expect(await dropGeneration(deps.pool, generation)).toBe(true);
  });
});

/** A concurrent detach waits for the transactions that may still read the partition. */
async function waitsForSnapshot(): Promise<void> {
  for (;;) {
    const { rowCount } = await database.pool.query(
      "select from pg_stat_activity where datname = current_database() and query like '%detach%concurrently%' and wait_event is not null and state = 'active' and pid <> pg_backend_pid()",
    );
    if (rowCount! > 0) return;
  }
}

test("sizes are told by table, with the growth since the oldest sample of a week", async () => {
  const { deps, pool } = database;
  await pool.query("truncate sluice.table_size");
  await sampleSizes(pool);
  expect((await readSizes(pool)).since).toBeNull();
  await moveClock(deps, "2 days");
  await pool.query("update sluice.table_size set bytes = bytes - 2000 where name = 'sluice.dag_run'");
  const { tables, total, since } = await readSizes(pool);
  expect(since).not.toBeNull();
  const run = tables.find(({ name }) => name === "sluice.dag_run")!;
  expect(run.perDay).toBeGreaterThanOrEqual(1_000);
  expect(run.total).toBe(run.heap + run.indexes + run.toast);
  expect(tables.map(({ name }) => name)).toContain("sluice_boss.job");
  expect(tables.filter(({ name }) => /_g\d+$/.test(name))).toEqual([]);
  expect(total).toBe(tables.reduce((sum, table) => sum + table.total, 0));
});
