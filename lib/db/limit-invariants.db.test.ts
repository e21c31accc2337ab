import { afterEach, expect, test } from "vitest";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { admit } from "#lib/engine/admit.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, moveClock, registration, start } from "#lib/testing/engine.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { checkInvariants } from "./invariants.ts";
import { deletePool, upsertPool } from "./pools.ts";
import { setSystemLimit } from "./system-limits.ts";
import { inTx } from "./tx.ts";
import { publishVersion } from "./versions.ts";

/** Each limit: more than it allows is found, and what was admitted before it was made lower is not. */

const database = testDatabase();
const TASKS = 4;

afterEach(() => forgetRuns(database.deps));

async function publish(limits: object, task: object = {}): Promise<void> {
  const tasks = Array.from({ length: TASKS }, (_, n) => ({
    id: `t${n}`,
    type: "bash",
    config: { command: "true" },
    ...task,
  }));
  const spec = DagSpec.parse({ id: "limited", limits, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "limited.yaml", source: "", author: "test" }));
}

/** A worker with room for all, and a run of which as much is admitted as the limit allows. */
async function admitted(): Promise<number> {
  await registerWorker(database.deps, registration("w"));
  await start(database.deps, "limited");
  return live();
}

async function live(): Promise<number> {
  await admit(database.deps);
  const { rows } = await database.pool.query<{ n: number }>("select count(*)::int as n from sluice.live_attempt");
  return rows[0]!.n;
}

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter((finding) => finding.broken.length > 0).map(({ id }) => id);
}

/** A change of a limit that the database does not notice: what is admitted looks as if it had been admitted under it. */
async function unnoticed(sql: string): Promise<void> {
  await inTx(database.pool, async (tx) => {
    await tx.query("set local session_replication_role = replica");
    await tx.query(sql);
  });
}

type Limit = {
  id: string;
  /** With room for all tasks, and then for two. */
  allowAll(): Promise<void>;
  allowTwo(): Promise<void>;
  /** The same behind the database's back. */
  set(value: number): string;
};

const LIMITS: readonly Limit[] = [
  {
    id: "run-task-limit",
    allowAll: () => publish({ maxActiveTasksPerRun: TASKS }),
    allowTwo: () => publish({ maxActiveTasksPerRun: 2 }),
    set: (value) => `update sluice.dag set max_active_tasks_per_run = ${value}`,
  },
  {
    id: "dag-task-limit",
    allowAll: () => publish({ maxActiveTasks: TASKS }),
    allowTwo: () => publish({ maxActiveTasks: 2 }),
    set: (value) => `update sluice.dag set max_active_tasks = ${value}`,
  },
  {
    id: "pool-slots",
    allowAll: async () => {
      await upsertPool(database.pool, "db", TASKS, undefined);
      await publish({}, { pool: "db" });
    },
    allowTwo: () => upsertPool(database.pool, "db", 2, undefined),
    set: (value) => `update sluice.pool set slots = ${value}`,
  },
  {
    id: "system-task-limit",
    allowAll: async () => {
      await setSystemLimit(database.pool, "max_active_tasks", TASKS);
      await publish({});
    },
    allowTwo: () => setSystemLimit(database.pool, "max_active_tasks", 2),
    set: (value) => `update sluice.system_limit set value = ${value}`,
  },
];

test.for(LIMITS)("$id: what was admitted beyond it is found", async ({ id, allowTwo, allowAll, set }) => {
  await allowAll();
  await allowTwo();
  // What is changed within two seconds is not judged: admission may have read the limit before.
  await moveClock(database.deps, "3 s");
  await unnoticed(set(TASKS));
  expect(await admitted()).toBe(TASKS);
  expect(await broken()).toEqual([]);
  await unnoticed(set(2));
  expect(await broken()).toEqual([id]);
});

test.for(LIMITS)("$id: what was admitted before it was made lower is not found, what came after is", async (limit) => {
  await limit.allowAll();
  await unnoticed(limit.set(TASKS - 1));
  expect(await admitted()).toBe(TASKS - 1);
  await moveClock(database.deps, "10 s");
  await limit.allowTwo();
  expect(await broken()).toEqual([]);
  expect(await live()).toBe(TASKS - 1);
  await moveClock(database.deps, "13 s");
  await unnoticed(limit.set(TASKS));
  expect(await live()).toBe(TASKS);
  await unnoticed(limit.set(2));
  expect(await broken()).toEqual([limit.id]);
});

test("a limit that was changed while the clock stood earlier is no older than what was admitted before", async () => {
  await moveClock(database.deps, "1 hour");
  await publish({ maxActiveTasks: TASKS });
  expect(await admitted()).toBe(TASKS);
  await moveClock(database.deps, "0");
  await publish({ maxActiveTasks: 2 });
  expect(await broken()).toEqual([]);
});

test("pool-slots: of a pool that is deleted what is live goes on, and nothing more may be", async () => {
  await upsertPool(database.pool, "db", TASKS, undefined);
  await publish({}, { pool: "db" });
  await unnoticed(`update sluice.pool set slots = ${TASKS - 1}`);
  expect(await admitted()).toBe(TASKS - 1);
  await moveClock(database.deps, "10 s");
  expect(await deletePool(database.pool, "db")).toBe(true);
  expect(await broken()).toEqual([]);
  expect(await live()).toBe(TASKS - 1);
  await moveClock(database.deps, "13 s");
  await upsertPool(database.pool, "db", TASKS, undefined);
  expect(await live()).toBe(TASKS);
  await unnoticed("delete from sluice.pool");
  await database.pool.query("delete from sluice.deleted_pool");
  // As if it had never been there.
  expect(await broken()).toEqual(["pool-slots"]);
  await database.pool.query(
    "insert into sluice.deleted_pool (name) values ('db') on conflict (name) do update set limits_since = default",
  );
  expect(await broken()).toEqual([]);
  await moveClock(database.deps, "20 s");
  await database.pool.query("update sluice.live_attempt set queued_at = sluice.clock()");
  expect(await broken()).toEqual(["pool-slots"]);
});
