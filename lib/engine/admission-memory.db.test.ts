import { beforeEach, expect, test } from "vitest";
import { holdTasks } from "#lib/db/pauses.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, start, worker } from "#lib/testing/engine.ts";
import { admit, admitLeft, planAdmission } from "./admit.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";

/**
 * Of a lane in which many classes have something ready, the leader reads only what is new between two regular passes. Whatever
 * others do meanwhile, it decides as one that reads everything.
 */

const database = testDatabase();
const TERM = 7;
const CLASSES = 210;

beforeEach(async () => {
  await forgetRuns(database.deps);
  await database.pool.query(
    "insert into sluice.lease (name, holder, term, until) values ('admission', 'test', $1, sluice.clock() + interval '1 h')",
    [TERM],
  );
});

const unheard = (): EngineDeps => createEngineDeps({ ...database.deps, requestPass: () => Promise.resolve() });

/** A DAG whose tasks are each a class of its own, since each takes another number of slots of its pool. */
async function publishClasses(id: string, count: number, priority = "medium"): Promise<void> {
  const tasks = Array.from({ length: count }, (_, n) => ({
    id: `t${n}`,
    type: "bash",
    config: { command: "true" },
    pool: "p",
    slots: n + 1,
  }));
  const spec = DagSpec.parse({ id, priority, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** A leader that has just had a regular pass over many classes, of which the lane's room lets five be live. */
async function leader(): Promise<{ deps: EngineDeps; asked: string[] }> {
  await database.pool.query("insert into sluice.pool (name, slots) values ('p', 1000000)");
  await publishClasses("many", CLASSES);
  await start(unheard(), "many");
  await worker(unheard(), "w", 4);
  // None of it is new when it is read for the first time.
  await database.pool.query("update sluice.task_instance set ready_at = ready_at - interval '10 s'");
  const asked: string[] = [];
  const { pool } = database;
  const query = (given: { name: string; text: string }): unknown => {
    asked.push(given.name);
    return pool.query(given);
  };
  const deps = createEngineDeps({ ...database.deps, pool: { query } as unknown as EngineDeps["pool"] });
  await admitLeft(deps, TERM);
  expect(await live()).toBe(5);
  asked.length = 0;
  return { deps, asked };
}

const live = async (): Promise<number> => (await database.pool.query("select from sluice.live_attempt")).rowCount!;

/** All that is live ends, without a word. */
async function endAll(): Promise<void> {
  await database.pool.query(
    `with gone as (delete from sluice.live_attempt returning task_instance_id as id)
     update sluice.task_instance t set state = 'success', ended_at = sluice.clock() from gone where t.id = gone.id`,
  );
}

test("a pass reads what is new, and goes through all classes as one that reads all of them", async () => {
  const { deps, asked } = await leader();
  for (let n = 0; n < 3; n++) {
    await endAll();
    expect(await admit(deps, TERM)).toBe(5);
  }
  expect(asked.filter((name) => name === "read-new-ready-classes").length).toBeGreaterThanOrEqual(3);
  expect(asked).not.toContain("read-ready-classes");
  await endAll();
  const { plan } = await planAdmission(database.pool, deps.caches.classes, "open lanes", 0, TERM);
  const fresh = createEngineDeps(database.deps).caches.classes;
  const all = await planAdmission(database.pool, fresh, "open lanes", 0, TERM);
  expect(plan.grants).toEqual(all.plan.grants);
});

test("what has become ready since goes by its priority, in the next pass", async () => {
  const { deps } = await leader();
  await publishClasses("urgent", 1, "high");
  await database.pool.query("update sluice.worker set state = 'draining'");
  const runId = await start(unheard(), "urgent");
  await database.pool.query("update sluice.worker set state = 'active'");
  await endAll();
  await admit(deps, TERM);
  const { rows } = await database.pool.query("select state from sluice.task_instance where run_id = $1", [runId]);
  expect(rows).toEqual([{ state: "queued" }]);
});

test("what is not ready any more leaves its room to others in the same call", async () => {
  const { deps } = await leader();
  await endAll();
  const { plan } = await planAdmission(database.pool, deps.caches.classes, "open lanes", 0, TERM);
  const next = plan.grants.map(({ class: id }) => id);
  await database.pool.query(
    "update sluice.task_instance set state = 'cancelled', ended_at = sluice.clock() where workload_id = any ($1)",
    [next],
  );
  expect(await admit(deps, TERM)).toBe(5);
});

test("while a person's action is there, after two seconds, and under another term, everything is read", async () => {
  const { deps, asked } = await leader();
  const { pool } = database;
  const cache = deps.caches.classes;
  const names = async (term: number): Promise<string[]> => {
    asked.length = 0;
    await planAdmission(deps.pool, cache, "open lanes", 0, term);
    return asked.filter((name) => name.endsWith("ready-classes"));
  };
  await endAll();
  expect(await names(TERM)).toEqual(["read-new-ready-classes"]);
  await pool.query(
    `insert into sluice.run_action (run_id, kind, actor) select id, 'cancel', 'test' from sluice.dag_run limit 1`,
  );
  expect(await names(TERM)).toEqual(["read-new-ready-classes", "read-ready-classes"]);
  await pool.query("delete from sluice.run_action");
  expect(await names(TERM)).toEqual(["read-ready-classes"]);
  expect(await names(TERM)).toEqual(["read-new-ready-classes"]);
  for (const lane of cache.ready.values()) lane.knownAt -= 3_000;
  expect(await names(TERM)).toEqual(["read-ready-classes"]);
  expect(await names(TERM + 1)).toEqual(["read-ready-classes"]);
});

test("a run that is let go after a pause is found at once", async () => {
  const { deps } = await leader();
  const { pool } = database;
  await pool.query(
    "update sluice.task_instance set held = true where workload_id in (select min(id) + 50 from sluice.workload)",
  );
  await admitLeft(deps, TERM);
  await endAll();
  const { rows } = await pool.query<{ run: string }>("select run_id::text as run from sluice.task_instance where held");
  await inTx(pool, (tx) => holdTasks(tx, [rows[0]!.run]));
  await planAdmission(deps.pool, deps.caches.classes, "open lanes", 0, TERM);
  const known = [...deps.caches.classes.ready.values()].flatMap(({ ids }) => [...ids]);
  const freed = await pool.query<{ id: number }>("select min(id) + 50 as id from sluice.workload");
  expect(known).toContain(freed.rows[0]!.id);
});
