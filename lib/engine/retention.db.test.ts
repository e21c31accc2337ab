import { beforeEach, describe, expect, test } from "vitest";
import {
  defaultKeepDays,
  enterGenerations,
  listGenerations,
  openGeneration,
  setDefaultKeepDays,
} from "#lib/db/generations.ts";
import { readSizes, sampleSizes } from "#lib/db/table-sizes.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock, start } from "#lib/testing/engine.ts";
import { freshGenerations, generationOf } from "#lib/testing/retention.ts";
import { publishScheduled } from "#lib/testing/schedules.ts";
import { rotateGenerations } from "./retention.ts";

const database = testDatabase();

beforeEach(() => freshGenerations(database.deps));

describe("generations", () => {
  test("follow each other when they are a quarter of their time old, and have runs; later runs have larger ids", async () => {
    const { deps } = database;
    await publishScheduled(deps, "weekly-turn", { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] });
    const first = await start(deps, "weekly-turn");
    await moveClock(deps, "7 days");
    await rotateGenerations(deps);
    const same = await start(deps, "weekly-turn");
    expect((await generationOf(database.deps, same)).number).toBe((await generationOf(database.deps, first)).number);
    await moveClock(deps, "8 days");
    await rotateGenerations(deps);
    const second = await start(deps, "weekly-turn");
    expect((await generationOf(database.deps, second)).number).toBeGreaterThan(
      (await generationOf(database.deps, first)).number,
    );
    expect(BigInt(second)).toBeGreaterThan(BigInt(same));
    expect(second).toBe((await generationOf(database.deps, second)).firstRun);
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
    const used = new Set(await Promise.all(ids.map(async (id) => (await generationOf(database.deps, id)).number)));
    expect(used.size).toBeGreaterThan(3);
  });

  test("what was opened by a process that died is entered by the next", async () => {
    const { deps, pool } = database;
    await publishScheduled(deps, "died", {});
    const number = await openGeneration(pool, 30);
    expect((await generationOf(database.deps, await start(deps, "died"))).number).toBeLessThan(number);
    await rotateGenerations(deps);
    expect((await generationOf(database.deps, await start(deps, "died"))).number).toBe(number);
  });
});

describe("a DAG's own time", () => {
  test("is a class of its own, and a DAG that changes its class keeps the order of its runs", async () => {
    const { deps } = database;
    await publishScheduled(deps, "own", { retention: "90d" });
    const first = await start(deps, "own");
    expect((await generationOf(database.deps, first)).keepDays).toBe(90);
    await publishScheduled(deps, "own", { retention: "7d" });
    const second = await start(deps, "own");
    expect((await generationOf(database.deps, second)).keepDays).toBe(7);
    await publishScheduled(deps, "own", { retention: "90d" });
    await rotateGenerations(deps);
    const third = await start(deps, "own");
    expect((await generationOf(database.deps, third)).keepDays).toBe(90);
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
    expect((await generationOf(database.deps, after)).keepDays).toBe(365);
    expect(BigInt(after)).toBeGreaterThan(BigInt(before));
    expect(await defaultKeepDays(pool)).toBe(365);
  });
});

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

test("tables that change all the time are vacuumed early, and history is frozen at once", async () => {
  const { rows } = await database.pool.query<{ name: string; options: string[] | null }>(
    `select c.relname as name, c.reloptions as options from pg_class c
      where c.relnamespace = 'sluice'::regnamespace and c.relkind = 'r'`,
  );
  const options = new Map(rows.map(({ name, options: set }) => [name, set?.join(" ") ?? ""]));
  for (const name of ["dag_run", "run_progress", "run_key"])
    expect([name, options.get(name)]).toEqual([name, expect.stringContaining("autovacuum_vacuum_scale_factor=0.02")]);
  for (const option of ["autovacuum_vacuum_threshold=50000", "vacuum_index_cleanup=on"])
    expect(options.get("task_instance")).toContain(option);
  for (const name of ["live_attempt", "deferral", "parent_ends", "callback", "run_deletion", "workload_wait"])
    expect([name, options.get(name)]).toEqual([name, expect.stringContaining("autovacuum_vacuum_threshold=1000")]);
  const partitions = [...options].filter(([name]) => /_g\d+$/.test(name));
  expect(partitions.length).toBeGreaterThanOrEqual(5);
  for (const [, set] of partitions) expect(set).toContain("autovacuum_freeze_min_age=0");
});
