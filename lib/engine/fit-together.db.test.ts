import { beforeEach, expect, test } from "vitest";
import { upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, start, startReady, worker } from "#lib/testing/engine.ts";

/** Tasks that fit together are admitted without a look at each: together they must then exceed no limit. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

/** Two tasks of it are queued, four more ready. */
async function twoOfSix(limits: object, task: object = {}): Promise<string[]> {
  const { deps, pool } = database;
  const tasks = (count: number): object[] =>
    Array.from({ length: count }, (_, n) => ({ id: `t${n}`, type: "bash", config: { command: "true" }, ...task }));
  for (const [count, admits] of [
    [2, true],
    [4, false],
  ] as const) {
    const spec = DagSpec.parse({ id: "limited", limits, tasks: tasks(count) });
    await inTx(pool, (tx) => publishVersion(tx, spec, { file: "limited.yaml", source: "", author: "test" }));
    if (admits) {
      await worker(deps, "w");
      await start(deps, "limited");
    } else await startReady(deps, "limited");
  }
  await pool.query("update sluice.lane set room = 100, own_slots = 100, group_room = 100");
  const { rows } = await pool.query<{ id: string }>("select id from sluice.task_instance where admissible order by id");
  expect(rows).toHaveLength(4);
  return rows.map((row) => row.id);
}

async function fitTogether(ids: string[], workers: (string | null)[] = ids.map(() => null)): Promise<boolean> {
  const { rows } = await database.pool.query<{ fit: boolean }>("select sluice.fit_together($1, $2) as fit", [
    ids,
    workers,
  ]);
  return rows[0]!.fit;
}

const BOTH_SLOTS = { pool: "shared", slots: 2 };

/** Gives so many tasks room, those that are queued included. */
const LIMITS: Record<string, { task?: object; limit: (size: number) => Promise<unknown> }> = {
  pool: { task: BOTH_SLOTS, limit: (size) => upsertPool(database.pool, "shared", 2 * size + 1, undefined) },
  DAG: { limit: (size) => database.pool.query("update sluice.dag set max_active_tasks = $1", [size]) },
  system: { limit: (size) => setSystemLimit(database.pool, "max_active_tasks", size) },
  lane: { limit: (size) => database.pool.query("update sluice.lane set room = $1", [size]) },
  group: {
    limit: (size) => database.pool.query("update sluice.lane set own_slots = 0, group_room = $1", [size]),
  },
};

test.each(Object.entries(LIMITS))("limit of a %s", async (_, { task, limit }) => {
  await upsertPool(database.pool, "shared", 100, undefined);
  await database.pool.query("update sluice.dag set max_active_tasks = null");
  const ready = await twoOfSix({}, task);
  expect(await fitTogether(ready)).toBe(true);
  await limit(5);
  expect(await fitTogether(ready)).toBe(false);
  expect(await fitTogether(ready.slice(1))).toBe(true);
  await limit(6);
  expect(await fitTogether(ready)).toBe(true);
});

test("what only an order of the tasks can tell", async () => {
  const ready = await twoOfSix({ maxActiveTasksPerRun: 4 });
  expect(await fitTogether(ready), "a run may have four of these").toBe(false);
  await database.pool.query("update sluice.dag set max_active_tasks_per_run = null");
  expect(await fitTogether(ready)).toBe(true);
  expect(await fitTogether(ready, [null, "w", null, null]), "one is for a certain worker").toBe(false);
});

test("a pool that is not there has no room", async () => {
  await upsertPool(database.pool, "shared", 100, undefined);
  const ready = await twoOfSix({}, BOTH_SLOTS);
  await database.pool.query("delete from sluice.pool");
  expect(await fitTogether(ready)).toBe(false);
});
