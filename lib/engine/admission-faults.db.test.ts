import fc from "fast-check";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type Applied, applyAdmission } from "#lib/db/admission.ts";
import { deletePool, upsertPool } from "#lib/db/pools.ts";
import { listQuarantine, retryQuarantined } from "#lib/db/quarantine.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { MAX_GRANTS } from "#lib/domain/admission.ts";
import { advanceClock, type LaneClock, PRIORITY_ORDER } from "#lib/domain/lane-clock.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, moveClock, publish, start, states, success, worker } from "#lib/testing/engine.ts";
import { admit, admitLeft, planAdmission } from "./admit.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { type AdmissionLead, createAdmissionLead } from "./lead-admission.ts";
import { rollbackVersion } from "./rollback-version.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));
afterEach(heal);

type Options = { tasks?: number; limits?: object; task?: object; priority?: string };

/** A DAG of tasks that wait for nothing. */
async function publishWide(
  id: string,
  { tasks = 1, limits = {}, task = {}, priority = "medium" }: Options = {},
): Promise<void> {
  const ids = Array.from({ length: tasks }, (_, n) => `t${n}`);
  const spec = DagSpec.parse({
    id,
    limits: { maxActiveRuns: 50, ...limits },
    priority,
    tasks: ids.map((taskId) => ({ id: taskId, type: "bash", config: { command: "true" }, ...task })),
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** A process whose requests for admission nobody hears: what it makes ready stays ready. */
const unheard = (): EngineDeps => createEngineDeps({ ...database.deps, requestPass: () => Promise.resolve() });

/** Runs of the DAGs, with their tasks ready and not admitted, and a worker for them. */
async function readyRuns(dagIds: readonly string[], slots = 20): Promise<string[]> {
  const runs: string[] = [];
  for (const dagId of dagIds) runs.push(await start(unheard(), dagId));
  await worker(unheard(), "w", slots);
  return runs;
}

/** From now on, a row of the table for which the condition holds cannot be written. */
async function poison(table: string, operation: string, condition: string): Promise<void> {
  await database.pool.query(`
    drop function if exists sluice.poison cascade;
    create function sluice.poison() returns trigger language plpgsql as $$
    begin
      if ${condition} then raise exception 'poisoned %', tg_table_name; end if;
      return new;
    end $$`);
  await database.pool.query(
    `create trigger poison before ${operation} on ${table} for each row execute function sluice.poison()`,
  );
}

async function heal(): Promise<void> {
  await database.pool.query("drop function if exists sluice.poison cascade");
}

const inQuarantine = async (): Promise<string[]> =>
  (await listQuarantine(database.pool)).map(({ duty, key }) => `${duty} ${key}`);

async function firstTask(runId: string): Promise<string> {
  const { rows } = await database.pool.query<{ id: string }>(
    "select min(id)::text as id from sluice.task_instance where run_id = $1",
    [runId],
  );
  return rows[0]!.id;
}

type LaneRow = { room: number; clock: LaneClock };

async function lane(): Promise<LaneRow> {
  const { rows } = await database.pool.query<LaneRow>(
    `select room, json_build_object('time', time, 'high', high, 'medium', medium, 'low', low) as clock
       from sluice.lane where (queue, slot_class) = ('default', 'process')`,
  );
  return rows[0]!;
}

type Scheduler = { lead: AdmissionLead; deps: EngineDeps; announced: string[] };

/** A scheduler of its own, which calls `before` before each named statement. */
function scheduler(id: string, before: (name: string) => Promise<void> = () => Promise.resolve()): Scheduler {
  const { deps: base } = database;
  const lead = createAdmissionLead(id);
  const announced: string[] = [];
  const notifier = { ...base.notifier, announce: (channel: string) => void announced.push(channel) };
  const query = async (query: string | { name: string; text: string }, values?: unknown[]): Promise<unknown> => {
    if (typeof query !== "string") await before(query.name);
    return typeof query === "string" ? base.pool.query(query, values) : base.pool.query(query);
  };
  const pool = { query } as unknown as EngineDeps["pool"];
  return { lead, deps: createEngineDeps({ ...base, pool, notifier, requestPass: lead.request }), announced };
}

describe("a scheduler whose passes fail", () => {
  const failing = async (name: string): Promise<void> => {
    if (name === "read-capacity") throw new Error("out of memory");
  };

  test("gives the lead back at once, and lets another one have it for some turns", async () => {
    await publishWide("led");
    const [runId] = await readyRuns(["led"]);
    const [a, b] = [scheduler("a", failing), scheduler("b")];
    await expect(a.lead.turn(a.deps)).rejects.toThrow("out of memory");
    await b.lead.turn(b.deps);
    expect(await states(database.deps, runId!)).toEqual(["queued"]);
    await a.lead.turn(a.deps);
    await a.deps.requestAdmission();
    expect(a.announced).toContain("sluice_admission");
    const { rows } = await database.pool.query("select holder from sluice.lease");
    expect(rows).toEqual([{ holder: "b" }]);
  });

  test("says so while no other leads, and tries again after more turns each time, at most five", async () => {
    const a = scheduler("a", failing);
    const turns: string[] = [];
    for (let n = 0; n < 24; n++) {
      const error: unknown = await a.lead.turn(a.deps).catch((failure: unknown) => failure);
      turns.push((error as Error).message);
    }
    const tried = turns.map((message) => (message === "out of memory" ? "x" : ".")).join("");
    expect(tried).toBe("x.x..x...x....x.....x...");
    expect(turns[1]).toBe("no scheduler leads admission, here it failed: out of memory");
  });
});

test("a lease that a clock of an hour later gave keeps no other scheduler from leading", async () => {
  const { deps } = database;
  await moveClock(deps, "1 hour");
  const [a, b] = [scheduler("a"), scheduler("b")];
  await a.lead.turn(a.deps);
  await moveClock(deps, "0");
  await publishWide("led");
  const [runId] = await readyRuns(["led"]);
  await b.lead.turn(b.deps);
  expect(await states(deps, runId!)).toEqual(["queued"]);
  // The one of then leads no more, when it was not killed but stopped.
  await a.lead.turn(a.deps);
  const { rows } = await database.pool.query("select holder from sluice.lease");
  expect(rows).toEqual([{ holder: "b" }]);
});

test("room for more tasks than a call may admit is used by several calls, each of which holds the lock for less", async () => {
  const { deps } = database;
  const TASKS = 2 * MAX_GRANTS;
  await publishWide("first", { tasks: MAX_GRANTS });
  await publishWide("second", { tasks: MAX_GRANTS });
  const calls: string[] = [];
  const leader = scheduler("a", async (name) => void calls.push(name));
  const runs = await readyRuns(["first", "second"], TASKS);
  await leader.lead.turn(leader.deps);
  for (const runId of runs) expect(new Set(await states(deps, runId))).toEqual(new Set(["queued"]));
  expect(calls.filter((name) => name === "admit-1").length).toBeGreaterThanOrEqual(2);
}, 120_000);

test("as many tasks as are due at once keep their leader's lease alive", async () => {
  const { deps, pool } = database;
  await publishWide("due", { tasks: 2_500, task: { queue: "none" } });
  const runId = await start(unheard(), "due");
  await pool.query(
    "update sluice.task_instance set state = 'retrying', not_before = sluice.clock() where run_id = $1",
    [runId],
  );
  const renewals: string[] = [];
  const leader = scheduler("a", async (name) => void (name === "take-lease" && renewals.push(name)));
  await leader.lead.turn(leader.deps);
  expect(renewals.length).toBeGreaterThanOrEqual(3);
  expect(new Set(await states(deps, runId))).toEqual(new Set(["ready"]));
});

describe("a leader that was stopped between its decision and its writing", () => {
  test("writes nothing: no room, no clock, no reason and no key of then, and leads no more", async () => {
    const { deps, pool } = database;
    await publishWide("led", { tasks: 40, task: { pool: "p" } });
    await upsertPool(pool, "p", 1, undefined);
    await readyRuns(["led"], 4);
    const b = scheduler("b");
    let meanwhile: unknown;
    const seen = async (): Promise<unknown> => ({
      lane: await lane(),
      waits: (await pool.query("select code, detail, blocked_on from sluice.workload_wait")).rows,
      keys: (await pool.query("select key from sluice.contention order by key")).rows,
      live: (await pool.query("select from sluice.live_attempt")).rowCount,
    });
    const a = scheduler("a", async (name) => {
      if (name !== "admit-1" || meanwhile !== undefined) return;
      // It has decided; while it stands its lease ends, and everything that it has read is changed.
      await moveClock(deps, "6 s");
      await pool.query("update sluice.worker set process_slots = 100, lease_until = sluice.clock() + interval '1 min'");
      await upsertPool(pool, "p", 30, undefined);
      await b.lead.turn(b.deps);
      meanwhile = await seen();
    });
    await a.lead.turn(a.deps);
    expect(meanwhile).toMatchObject({ lane: { room: 125 }, live: 30 });
    expect(await seen()).toEqual(meanwhile);
    await a.deps.requestAdmission();
    expect(a.announced).toContain("sluice_admission");
  });

  test("also in the pass that a transition asks for, which it then announces to the new leader", async () => {
    const { deps, pool } = database;
    await publishWide("led", { tasks: 2 });
    const b = scheduler("b");
    let isStopped = false;
    const a = scheduler("a", async (name) => {
      if (name !== "admit-1" || !isStopped) return;
      isStopped = false;
      await moveClock(deps, "6 s");
      await pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 min'");
      await b.lead.turn(b.deps);
    });
    await a.lead.turn(a.deps);
    await readyRuns(["led"]);
    isStopped = true;
    a.announced.length = 0;
    await a.deps.requestAdmission();
    expect(a.announced).toEqual(["sluice_admission"]);
    expect((await pool.query("select from sluice.live_attempt")).rowCount).toBe(2);
  });
});

describe("a task that cannot be written", () => {
  test("keeps no other from being admitted, nor its own class; it is in quarantine, and takes no room meanwhile", async () => {
    const { deps, pool } = database;
    await publishWide("mixed", { tasks: 30 });
    await publishWide("other", { tasks: 30 });
    const [runId, other] = await readyRuns(["mixed", "other"], 4);
    const bad = await firstTask(runId!);
    await poison("sluice.live_attempt", "insert", `new.task_instance_id = ${bad}`);
    await admitLeft(deps);
    expect(await inQuarantine()).toEqual([`admit ${bad}`]);
    const queued = async (id: string): Promise<number> =>
      (await states(deps, id)).filter((state) => state === "queued").length;
    expect((await queued(runId!)) + (await queued(other!))).toBe(5);
    // Only the bad one is left of its run: no room is kept for it, and no pass is spent on it.
    await pool.query("delete from sluice.live_attempt");
    await pool.query("update sluice.task_instance set held = true where run_id = $1 and id <> $2", [runId, bad]);
    expect((await planAdmission(pool, deps.caches.classes, "open lanes")).plan).toMatchObject({
      grants: [{ at: [0, 1, 2, 3, 4] }],
      apart: [bad],
    });
    await heal();
    await retryQuarantined(pool);
    await admitLeft(deps);
    await admitLeft(deps);
    expect((await states(deps, runId!))[0]).toBe("queued");
    expect(await inQuarantine()).toEqual([]);
  });

  test("is found where its DAG limits the tasks of a run, and among a thousand others with more like it", async () => {
    const { deps, pool } = database;
    await publishWide("limited", { tasks: 4, limits: { maxActiveTasksPerRun: 2 } });
    await publishWide("wide", { tasks: 300 });
    const [limited, wide] = await readyRuns(["limited", "wide"], 400);
    const bad = await firstTask(limited!);
    await poison(
      "sluice.live_attempt",
      "insert",
      `new.task_instance_id = ${bad} or (new.task_instance_id & 1048575) % 40 = 39`,
    );
    for (let n = 0; n < 3; n++) await admit(deps);
    const { rows } = await pool.query("select from sluice.task_instance where run_id = $1 and state = 'ready'", [wide]);
    expect(rows).toHaveLength(7);
    expect(await states(deps, limited!)).toEqual(["ready", "queued", "queued", "ready"]);
    expect(await inQuarantine()).toHaveLength(8);
  });

  test("is not blamed where nothing at all can be written", async () => {
    await publishWide("wide", { tasks: 30 });
    const [runId] = await readyRuns(["wide"]);
    await poison("sluice.live_attempt", "insert", "true");
    await expect(admitLeft(database.deps)).rejects.toThrow("poisoned live_attempt");
    expect(await inQuarantine()).toEqual([]);
    expect(new Set(await states(database.deps, runId!))).toEqual(new Set(["ready"]));
  });

  test("keeps neither the end of its parent nor the start of its run from being accepted", async () => {
    const { deps } = database;
    const w = await worker(deps, "w");
    await admit(deps);
    const tasks = { a: [], b: ["a"], c: ["a"] };
    await publish(deps, "parent", tasks);
    await poison("sluice.live_attempt", "insert", "new.task_instance_id & 1048575 = 1");
    const runId = await start(unheard(), "parent");
    const [a] = await claimAll(deps, w);
    expect(await finish(unheard(), [success(a!)], "worker:w")).toEqual([a!.taskInstanceId]);
    expect(await states(deps, runId)).toEqual(["success", "ready", "ready"]);
    await poison("sluice.live_attempt", "insert", "true");
    const other = await start(unheard(), "parent");
    expect(await states(deps, other)).toEqual(["ready", "waiting", "waiting"]);
    await heal();
    await admit(deps);
    expect(await states(deps, runId)).toEqual(["success", "queued", "queued"]);
    expect(await states(deps, other)).toEqual(["queued", "waiting", "waiting"]);
  });

  test("keeps no other from becoming ready when its time has come", async () => {
    const { deps, pool } = database;
    await publishWide("due", { tasks: 20 });
    const [runId] = await readyRuns(["due"]);
    await pool.query(
      "update sluice.task_instance set state = 'retrying', ready_at = null, not_before = sluice.clock()",
    );
    const bad = await firstTask(runId!);
    await poison("sluice.task_instance", "update", `new.id = ${bad} and new.state = 'ready'`);
    await admitLeft(deps);
    const [first, ...others] = await states(deps, runId!);
    expect([first, ...new Set(others)]).toEqual(["retrying", "queued"]);
    expect(await inQuarantine()).toEqual([`due ${bad}`]);
  });
});

test("a reason that cannot be written keeps nothing from being admitted, nor other reasons from being written", async () => {
  const { deps, pool } = database;
  await upsertPool(pool, "p", 1, undefined);
  for (const id of ["a", "b", "c"]) await publishWide(id, { task: { pool: "p" } });
  await readyRuns(["a", "b", "c"]);
  const { rows } = await pool.query<{ id: number }>(
    "select id from sluice.workload where dag_id in ('a', 'b', 'c') order by id",
  );
  const [, second, third] = rows.map(({ id }) => id);
  await poison("sluice.workload_wait", "insert", `new.workload_id = ${second}`);
  await admitLeft(deps);
  expect((await pool.query("select from sluice.live_attempt")).rowCount).toBe(1);
  expect(await inQuarantine()).toEqual([`waits ${second}`]);
  const written = await pool.query("select workload_id as id from sluice.workload_wait");
  expect(written.rows).toEqual([{ id: third }]);
  await heal();
  await retryQuarantined(pool);
  await admitLeft(deps);
  expect((await pool.query("select from sluice.workload_wait")).rowCount).toBe(2);
  expect(await inQuarantine()).toEqual([]);
});

test("workers that say they have more slots than an integer counts stop no pass", async () => {
  const { deps, pool } = database;
  await publishWide("led");
  const [runId] = await readyRuns(["led"]);
  await worker(unheard(), "v");
  await pool.query("update sluice.worker set process_slots = 2147483647");
  await admitLeft(deps);
  expect(await states(deps, runId!)).toEqual(["queued"]);
});

describe("a lane's clock", () => {
  test("moves by what was admitted, and not by what was decided and then refused", async () => {
    const { deps, pool } = database;
    await publishWide("high", { tasks: 20, priority: "high", task: { pool: "p" } });
    await publishWide("low", { tasks: 2, priority: "low" });
    await upsertPool(pool, "p", 20, undefined);
    await readyRuns(["high", "low"]);
    const { plan } = await planAdmission(pool, deps.caches.classes, "open lanes");
    expect(plan.grants.map(({ at }) => at.length)).toEqual([20, 2]);
    await upsertPool(pool, "p", 3, undefined);
    const { attempts }: Applied = await applyAdmission(pool, plan);
    expect(attempts).toHaveLength(5);
    const { rows } = await pool.query<{ id: string }>("select id from sluice.dag_run where dag_id = 'high'");
    let clock: LaneClock = { time: 0, high: 0, medium: 0, low: 0 };
    for (const { runId } of attempts) clock = advanceClock(clock, runId === rows[0]!.id ? "high" : "low");
    expect((await lane()).clock).toEqual(clock);
  });

  test("moves in the database as the pure rule says", async () => {
    const numbers = fc.nat(40);
    const clocks = fc.record({ time: numbers, high: numbers, medium: numbers, low: numbers });
    await fc.assert(
      fc.asyncProperty(
        clocks,
        fc.array(fc.constantFrom(...PRIORITY_ORDER), { minLength: 1, maxLength: 30 }),
        async (before, priorities) => {
          const { rows } = await database.pool.query<{ clock: string[] }>(
            `select sluice.clock_after($1::bigint[], p order by n) as clock
               from unnest($2::text[]) with ordinality x(p, n)`,
            [[before.time, before.high, before.medium, before.low], priorities],
          );
          const { time, high, medium, low } = priorities.reduce<LaneClock>(advanceClock, before);
          expect(rows[0]!.clock.map(Number)).toEqual([time, high, medium, low]);
        },
      ),
    );
  });
});

test("a pass is not disturbed by a regular one that begins meanwhile", async () => {
  const { deps, pool } = database;
  await publishWide("one", { tasks: 2 });
  await publishWide("two", { tasks: 2 });
  const cache = deps.caches.classes;
  // How the first class stands is known; the second has to be read.
  await readyRuns(["one"]);
  await planAdmission(pool, cache, "all lanes");
  await pool.query("update sluice.worker set state = 'draining'");
  await start(unheard(), "two");
  await pool.query("update sluice.worker set state = 'active'");
  let isFirst = true;
  const between = async (query: { name: string; text: string }): Promise<unknown> => {
    const result = await pool.query(query);
    if (query.name === "read-standings" && isFirst) {
      isFirst = false;
      // The regular pass forgets how classes stand, and then takes a while.
      const slow = {
        query: (inner: { name: string; text: string }) =>
          inner.name === "read-ready-classes" ? Promise.reject(new Error("it stands here")) : pool.query(inner),
      } as unknown as EngineDeps["pool"];
      await expect(planAdmission(slow, cache, "all lanes")).rejects.toThrow("it stands here");
    }
    return result;
  };
  const disturbed = await planAdmission({ query: between } as unknown as EngineDeps["pool"], cache, "open lanes");
  expect(disturbed.plan.grants.map(({ at }) => at.length)).toEqual([2, 2]);
});

describe("who changes a limit asks for a pass", () => {
  const changes: Record<string, () => Promise<unknown>> = {
    "a new pool": () => upsertPool(database.pool, "p", 2, undefined),
    "a pool's size": async () => {
      await database.pool.query("update sluice.pool set slots = 5");
    },
    "a pool's end": () => deletePool(database.pool, "p"),
    "a new limit of the system": () => setSystemLimit(database.pool, "max_active_tasks", 5),
    "a change of it": () => setSystemLimit(database.pool, "max_active_tasks", 2),
    "its end": () => setSystemLimit(database.pool, "max_active_tasks", null),
    "a version with a lower limit": () => publishWide("limited", { limits: { maxActiveTasks: 1 } }),
    "a version with another limit for runs": () =>
      publishWide("limited", { limits: { maxActiveTasks: 1, maxActiveTasksPerRun: 1 } }),
    "a rollback": () => rollbackVersion(database.deps, { dagId: "limited", toNumber: 1, actor: "test" }),
  };

  test("whichever way it is changed", async () => {
    await publishWide("limited", { limits: { maxActiveTasks: 3 } });
    const listener = new pg.Client({ connectionString: database.url });
    await listener.connect();
    onTestFinished(() => listener.end());
    let heard = 0;
    listener.on("notification", ({ channel }) => void (channel === "sluice_admission" && heard++));
    await listener.query("listen sluice_admission");
    const asked: Record<string, number> = {};
    for (const [name, change] of Object.entries(changes)) {
      heard = 0;
      await change();
      // What was committed before this statement is heard before its result.
      await listener.query("select");
      asked[name] = heard;
    }
    expect(asked).toEqual(Object.fromEntries(Object.keys(changes).map((name) => [name, 1])));
    await publishWide("limited", { tasks: 2, limits: { maxActiveTasks: 3 } });
    await upsertPool(database.pool, "q", 1, undefined);
    await listener.query("select");
    heard = 0;
    await upsertPool(database.pool, "q", 1, "described");
    await publishWide("limited", { tasks: 3, limits: { maxActiveTasks: 3 } });
    await listener.query("select");
    expect(heard).toBe(0);
  });
});
