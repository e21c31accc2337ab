import { beforeEach, describe, expect, test } from "vitest";
import { applyAdmission, readyDue } from "#lib/db/admission.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { deleteOldWaitSpans } from "#lib/db/waits.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, claimSome, forgetRuns, moveClock, start, states, success, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { isEmptyPlan } from "./admission-plan.ts";
import { admit, admitLeft, planAdmission } from "./admit.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { createAdmissionLead } from "./lead-admission.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

type Options = { tasks?: number; limits?: object; task?: object; priority?: string };

/** A DAG of tasks that wait for nothing. */
async function publishWide(
  id: string,
  { tasks = 1, limits = {}, task = {}, priority = "medium" }: Options = {},
): Promise<void> {
  const spec = DagSpec.parse({
    id,
    limits: { maxActiveRuns: 50, ...limits },
    priority,
    tasks: Array.from({ length: tasks }, (_, n) => ({
      id: `t${n}`,
      type: "bash",
      config: { command: "true" },
      ...task,
    })),
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** A process whose requests for admission nobody hears: what it makes ready stays ready. */
const unheard = (): EngineDeps => createEngineDeps({ ...database.deps, requestPass: () => Promise.resolve() });

const plan = async (scope: "open lanes" | "all lanes" = "open lanes") =>
  (await planAdmission(database.pool, database.deps.caches.classes, scope)).plan;

async function live(): Promise<number> {
  return (await database.pool.query("select from sluice.live_attempt")).rowCount ?? 0;
}

async function waits(): Promise<{ dag: string; code: string; on: string[] }[]> {
  const { rows } = await database.pool.query<{ dag: string; code: string; on: string[] }>(
    `select w.dag_id as dag, x.code, x.blocked_on as "on"
       from sluice.workload_wait x join sluice.workload w on w.id = x.workload_id order by 1, 2`,
  );
  return rows;
}

async function contention(): Promise<string[]> {
  const { rows } = await database.pool.query<{ key: string }>("select key from sluice.contention order by 1");
  return rows.map(({ key }) => key.replace(/^lane:\d+$/, "lane"));
}

/** A run whose tasks are ready and not admitted: no worker is active while it starts, and nobody hears of it. */
async function startReady(dagId: string): Promise<string> {
  await database.pool.query("update sluice.worker set state = 'draining'");
  const runId = await start(unheard(), dagId);
  await database.pool.query("update sluice.worker set state = 'active'");
  return runId;
}

/** Runs of the DAGs, with their tasks ready and not admitted, and a worker for them. */
async function readyRuns(dagIds: readonly string[], slots = 20): Promise<string[]> {
  const runs: string[] = [];
  for (const dagId of dagIds) runs.push(await startReady(dagId));
  await worker(unheard(), "w", slots);
  return runs;
}

const NOW_OR_THEN: Record<string, { limits: object; task?: object; set?: () => Promise<void>; most: number }> = {
  "a run": { limits: { maxActiveTasksPerRun: 2 }, most: 2 },
  "a DAG": { limits: { maxActiveTasks: 2 }, most: 2 },
  "a pool": {
    limits: {},
    task: { pool: "p", slots: 2 },
    set: () => upsertPool(database.pool, "p", 5, undefined),
    most: 2,
  },
  "the system": { limits: {}, set: () => setSystemLimit(database.pool, "max_active_tasks", 2), most: 2 },
  "a lane": { limits: {}, most: 25 },
  "a worker": { limits: {}, task: { resources: { memory: "2Gi" } }, most: 2 },
};

describe("a decision is made without a lock, and counted again under it", () => {
  test.for(Object.keys(NOW_OR_THEN))(
    "two passes that decide over the same room of %s admit no more than it has",
    async (what) => {
      const { pool } = database;
      const { limits, task = {}, set, most } = NOW_OR_THEN[what]!;
      await set?.();
      await publishWide("both", { tasks: 60, limits, task });
      await readyRuns(["both"]);
      // Both have read and decided; the second is stopped there until the first has committed.
      const [first, second] = [await plan(), await plan()];
      expect((await applyAdmission(pool, first)).attempts).toHaveLength(most);
      const late = await applyAdmission(pool, second);
      expect([late.attempts.length, late.granted]).toEqual([0, most]);
      expect(await live()).toBe(most);
    },
  );

  test("two passes over a pool of one, by two connections: the second waits for the first and admits nothing", async () => {
    const { deps, pool } = database;
    await upsertPool(pool, "one", 1, undefined);
    await publishWide("a", { task: { pool: "one" } });
    await publishWide("b", { task: { pool: "one" } });
    await readyRuns(["a", "b"]);
    const [first, second] = [await plan(), await plan()];
    const applied = await held(deps, (tx) => applyAdmission(tx, first));
    const waiting = applyAdmission(pool, second);
    await waitsForLock(deps);
    await applied.commit();
    expect(applied.result.attempts).toHaveLength(1);
    expect((await waiting).attempts).toEqual([]);
    expect(await live()).toBe(1);
  });

  test("a limit that shrinks between the decision and its writing holds", async () => {
    await upsertPool(database.pool, "p", 5, undefined);
    await publishWide("shrunk", { tasks: 5, task: { pool: "p" } });
    await readyRuns(["shrunk"]);
    const decided = await plan();
    await upsertPool(database.pool, "p", 2, undefined);
    expect((await applyAdmission(database.pool, decided)).attempts).toHaveLength(2);
  });

  test("several task classes of a run share its limit", async () => {
    const { pool } = database;
    const tasks = ["high", "medium", "low", "medium"].map((priority, n) => {
      const type = n === 3 ? { type: "noop", config: {} } : { type: "bash", config: { command: "true" } };
      return { id: `t${n}`, priority, ...type };
    });
    const spec = DagSpec.parse({ id: "classes", limits: { maxActiveTasksPerRun: 1, maxActiveTasks: 3 }, tasks });
    await inTx(pool, (tx) => publishVersion(tx, spec, { file: "classes.yaml", source: "", author: "test" }));
    await readyRuns(["classes", "classes", "classes", "classes"]);
    await admit(database.deps);
    const { rows } = await pool.query<{ n: number }>(
      "select count(*)::int as n from sluice.live_attempt group by task_instance_id >> 20",
    );
    expect(rows.map(({ n }) => n)).toEqual([1, 1, 1]);
  });
});

describe("a pass", () => {
  test("reads no task class of a full lane, however many wait in it", async () => {
    const { deps, pool } = database;
    await publishWide("full", { tasks: 10 });
    await publishWide("other", { tasks: 3 });
    await readyRuns(["full", "other"], 1);
    await admit(deps);
    const asked: string[] = [];
    const listening = {
      query: (query: { name: string; text: string; values?: unknown[] }) => {
        asked.push(query.name);
        return pool.query(query);
      },
    } as unknown as EngineDeps["pool"];
    expect((await planAdmission(listening, deps.caches.classes, "open lanes")).plan.grants).toEqual([]);
    expect(asked).toEqual(["read-capacity"]);
  });

  test("says why in the rows of the classes and what they wait for, and writes nothing while that stays", async () => {
    const { deps, pool } = database;
    await upsertPool(pool, "p", 1, undefined);
    await upsertPool(pool, "small", 1, undefined);
    await publishWide("pooled", { tasks: 3, task: { pool: "p" } });
    await publishWide("impossible", { task: { pool: "small", slots: 2 } });
    await publishWide("limited", { tasks: 3, limits: { maxActiveTasks: 1 } });
    await publishWide("runs", { tasks: 3, limits: { maxActiveTasksPerRun: 1 } });
    await readyRuns(["pooled", "impossible", "limited", "runs"]);
    await admitLeft(deps);
    expect(await waits()).toEqual([
      { dag: "impossible", code: "POOL_TOO_SMALL", on: [] },
      { dag: "limited", code: "DAG_LIMIT", on: ["dag:limited"] },
      { dag: "pooled", code: "POOL_FULL", on: ["pool:p"] },
      { dag: "runs", code: "RUN_LIMIT", on: ["run:runs"] },
    ]);
    expect(await contention()).toEqual(["dag:limited", "pool:p", "run:runs"]);
    // Others get more slots of the pool: only a count of the reason changes.
    await pool.query("update sluice.workload_wait set detail = '{}'");
    const again = await plan("all lanes");
    expect(isEmptyPlan(again)).toBe(true);
    await moveClock(deps, "20 s");
    await pool.query("update sluice.workload_wait set detail_at = detail_at - interval '1 min'");
    await admitLeft(deps);
    const { rows } = await pool.query("select from sluice.workload_wait where detail = '{}' and blocked_on <> '{}'");
    expect(rows).toEqual([]);
  });

  test("a reason that is over leaves a span of its time, unless it was a moment; old ones are deleted", async () => {
    const { deps, pool } = database;
    await upsertPool(pool, "p", 1, undefined);
    await publishWide("spans", { tasks: 2, task: { pool: "p" } });
    await readyRuns(["spans"]);
    await admitLeft(deps);
    await upsertPool(pool, "p", 0, undefined);
    await admitLeft(deps);
    const spans = async (): Promise<{ code: string; s: number }[]> => {
      const { rows } = await pool.query<{ code: string; s: number }>(
        "select code, extract(epoch from to_at - from_at)::int as s from sluice.wait_span order by from_at",
      );
      return rows;
    };
    expect(await spans()).toEqual([]);
    expect((await waits()).map(({ code }) => code)).toEqual(["POOL_TOO_SMALL"]);
    await moveClock(deps, "10 s");
    await upsertPool(pool, "p", 5, undefined);
    await admitLeft(deps);
    expect(await spans()).toEqual([{ code: "POOL_TOO_SMALL", s: 10 }]);
    expect(await waits()).toEqual([]);
    expect(await deleteOldWaitSpans(pool)).toBe(0);
    await moveClock(deps, "31 days");
    expect(await deleteOldWaitSpans(pool)).toBe(1);
  });

  test("a high task behind a thousand low ones of hours goes next but one, and the low ones go on", async () => {
    const { deps, pool } = database;
    await publishWide("low", { tasks: 1_000, priority: "low" });
    await publishWide("high", { priority: "high" });
    const [lowRun] = await readyRuns(["low"], 2);
    await pool.query("update sluice.task_instance set ready_at = ready_at - interval '10 h'");
    await admit(deps);
    const [one] = await claimSome(deps, { id: "w", epoch: "1" }, 2);
    const high = await start(deps, "high");
    expect(await states(deps, high)).toEqual(["ready"]);
    await finish(deps, [success(one!)], "worker:w");
    expect(await states(deps, high)).toEqual(["queued"]);
    expect((await states(deps, lowRun!)).filter((state) => state === "queued" || state === "running")).toHaveLength(2);
  });

  test("ready tasks whose time has come are all made ready, more than one statement takes", async () => {
    const { deps, pool } = database;
    await publishWide("due", { tasks: 1_500 });
    const runId = await startReady("due");
    await pool.query(
      "update sluice.task_instance set state = 'retrying', ready_at = null, not_before = sluice.clock()",
    );
    await admitLeft(deps);
    expect(new Set(await states(deps, runId))).toEqual(new Set(["ready"]));
    expect(await readyDue(pool)).toEqual({ moved: 0, hasMore: false });
  });
});

type AtOnce = { again: boolean; lanes: string[] };

async function admitAtOnce(db: Pick<EngineDeps["pool"], "query">, runId: string): Promise<AtOnce> {
  const { rows } = await db.query<AtOnce>(
    `select again, lanes from sluice.admit_at_once(array(select id from sluice.task_instance where run_id = $1))`,
    [runId],
  );
  return rows[0]!;
}

/** A pass that lets the lanes' rooms be known. */
async function knownLanes(slots: number): Promise<void> {
  await publishWide("first");
  await worker(database.deps, "w", slots);
  await start(database.deps, "first");
  await admitLeft(database.deps);
  const claimed = await claimAll(database.deps, { id: "w", epoch: "1" });
  await finish(database.deps, claimed.map(success), "worker:w");
}

describe("what has just become ready is admitted at once", () => {
  const lock = "select pg_advisory_xact_lock(1936487785)";

  test("without a lock where nothing limits it, as far as its lane has room", async () => {
    const { deps, pool } = database;
    await knownLanes(8);
    await publishWide("plain", { tasks: 12 });
    const lockHolder = await held(deps, (tx) => tx.query(lock));
    const runId = await startReady("plain");
    expect(await admitAtOnce(pool, runId)).toEqual({ again: true, lanes: ["default.process"] });
    expect((await states(deps, runId)).filter((state) => state === "queued")).toHaveLength(10);
    await lockHolder.commit();
  });

  test.for(["a run", "a DAG", "a pool", "the system"])("up to the limit of %s, under the lock", async (what) => {
    const { deps, pool } = database;
    const { limits, task = {}, set, most } = NOW_OR_THEN[what]!;
    await knownLanes(8);
    await set?.();
    await publishWide("limited", { tasks: 4, limits, task });
    const runId = await startReady("limited");
    expect(await admitAtOnce(pool, runId)).toEqual({ again: true, lanes: ["default.process"] });
    expect((await states(deps, runId)).filter((state) => state === "queued")).toHaveLength(most);
  });

  test("a limited one that finds the lock taken stays ready, and the pass after the holder's admits it", async () => {
    const { deps, pool } = database;
    await knownLanes(8);
    await publishWide("late", { limits: { maxActiveTasks: 5 } });
    const nothing = await plan();
    // The holder has read before this one became ready: refused after the holder's snapshot.
    const holder = await held(deps, async (tx) => {
      await tx.query(lock);
      return applyAdmission(tx, nothing);
    });
    const runId = await startReady("late");
    expect(await admitAtOnce(pool, runId)).toEqual({ again: true, lanes: [] });
    expect(await states(deps, runId)).toEqual(["ready"]);
    await holder.commit();
    expect(await admit(deps)).toBe(1);
  });

  test("not before what waits: a lane, a pool or a DAG that others wait for is left to a full pass", async () => {
    const { deps, pool } = database;
    await knownLanes(8);
    await upsertPool(pool, "p", 2, undefined);
    await publishWide("waits", { tasks: 2, task: { pool: "p", slots: 2 } });
    await publishWide("comes", { task: { pool: "p" } });
    await publishWide("free");
    await start(deps, "waits");
    await upsertPool(pool, "p", 3, undefined);
    expect(await contention()).toEqual(["pool:p"]);
    const comes = await startReady("comes");
    expect(await admitAtOnce(pool, comes)).toEqual({ again: true, lanes: [] });
    const free = await startReady("free");
    expect(await admitAtOnce(pool, free)).toEqual({ again: false, lanes: ["default.process"] });
  });

  test("not where no worker serves the lane, and not what only some workers can take", async () => {
    const { pool } = database;
    await knownLanes(8);
    await publishWide("gpu", { task: { queue: "gpu" } });
    await publishWide("heavy", { task: { resources: { memory: "1Gi" } } });
    for (const dagId of ["gpu", "heavy"]) {
      const runId = await startReady(dagId);
      expect(await admitAtOnce(pool, runId)).toEqual({ again: true, lanes: [] });
    }
  });
});

describe("a child may continue in its parent's slot", () => {
  /** Whether a task of the DAG's newest run may. */
  async function mayContinue(dagId: string): Promise<boolean> {
    const { rows } = await database.pool.query<{ may: boolean }>(
      `select sluice.may_continue(array[t.id], array[t.workload_id], array['w']) <> '{}' as may
         from sluice.task_instance t join sluice.workload w on w.id = t.workload_id
        where w.dag_id = $1 order by t.id desc limit 1`,
      [dagId],
    );
    return rows[0]!.may;
  }
  async function running(dagId: string): Promise<void> {
    await start(database.deps, dagId);
    await claimAll(database.deps, { id: "w", epoch: "1" });
  }

  test("while nothing waits for what it would take, whatever waits for another pool, DAG or lane", async () => {
    const { deps, pool } = database;
    await knownLanes(8);
    await publishWide("chain");
    await running("chain");
    expect(await mayContinue("chain")).toBe(true);
    await upsertPool(pool, "p", 1, undefined);
    await publishWide("pooled", { tasks: 3, task: { pool: "p" } });
    await publishWide("limited", { tasks: 3, limits: { maxActiveTasks: 1 } });
    await publishWide("unserved", { task: { queue: "nobody" } });
    for (const dagId of ["pooled", "limited", "unserved"]) await running(dagId);
    await admitLeft(deps);
    expect(await waits()).toHaveLength(3);
    expect(await mayContinue("chain")).toBe(true);
    expect(await Promise.all(["pooled", "limited"].map(mayContinue))).toEqual([false, false]);
    const { rows } = await pool.query(
      `select distinct dag_id as dag, f.others as waited from sluice.workload, sluice.waited_for(array[id]) f
        where dag_id in ('chain', 'pooled', 'limited') order by 1`,
    );
    expect(rows).toEqual([
      { dag: "chain", waited: false },
      { dag: "limited", waited: true },
      { dag: "pooled", waited: true },
    ]);
  });

  test("not while another waits for the lane, or was handed over and is not taken", async () => {
    const { deps } = database;
    await knownLanes(1);
    await publishWide("chain");
    await running("chain");
    await publishWide("other", { tasks: 3 });
    await start(deps, "other");
    expect(await contention()).toEqual(["lane"]);
    expect(await mayContinue("chain")).toBe(false);
    await database.pool.query("delete from sluice.contention");
    expect(await mayContinue("chain")).toBe(false);
  });

  test("not over a limit that was lowered below what is live", async () => {
    const { deps, pool } = database;
    await knownLanes(8);
    await upsertPool(pool, "p", 3, undefined);
    await publishWide("lowered", { tasks: 3, task: { pool: "p" } });
    await running("lowered");
    expect(await mayContinue("lowered")).toBe(true);
    await upsertPool(pool, "p", 2, undefined);
    await admitLeft(deps);
    expect(await mayContinue("lowered")).toBe(false);
    await upsertPool(pool, "p", 3, undefined);
    await admitLeft(deps);
    expect(await mayContinue("lowered")).toBe(true);
  });
});

describe("of several schedulers one leads admission", () => {
  const announced: string[] = [];
  const scheduler = (
    id: string,
    name?: string,
  ): { turn: () => Promise<void>; deps: EngineDeps; leave: () => Promise<void> } => {
    const lead = createAdmissionLead(id, name);
    const { deps: base } = database;
    const notifier = { ...base.notifier, announce: (channel: string) => void announced.push(channel) };
    const deps = createEngineDeps({ ...base, notifier, requestPass: lead.request });
    return { turn: () => lead.turn(deps), deps, leave: () => lead.leave(deps) };
  };

  test("and passes; another one announces what it wants, and takes over when the lease of the first has ended", async () => {
    const { deps } = database;
    await publishWide("led", { tasks: 2 });
    const [a, b] = [scheduler("a"), scheduler("b")];
    await a.turn();
    await b.turn();
    const [first] = await readyRuns(["led"]);
    announced.length = 0;
    await b.turn();
    await b.deps.requestAdmission();
    expect(announced).toEqual(["sluice_admission"]);
    expect(await states(deps, first!)).toEqual(["ready", "ready"]);
    await a.deps.requestAdmission();
    expect(await states(deps, first!)).toEqual(["queued", "queued"]);
    await moveClock(deps, "6 s");
    const [second] = await readyRuns(["led"]);
    await b.turn();
    expect(await states(deps, second!)).toEqual(["queued", "queued"]);
    await b.leave();
    await a.turn();
    announced.length = 0;
    await b.deps.requestAdmission();
    expect(announced).toEqual(["sluice_admission"]);
  });

  test("one that comes in the place of a killed one leads at once, once, and no other name's lead ends by that", async () => {
    const { deps } = database;
    await publishWide("led");
    const killed = scheduler("1", "x");
    await killed.turn();
    const [other, longer] = [scheduler("2", "y"), scheduler("3", "x.y")];
    const [first] = await readyRuns(["led"]);
    await other.turn();
    await longer.turn();
    expect(await states(deps, first!)).toEqual(["ready"]);
    const successor = scheduler("4", "x");
    await successor.turn();
    expect(await states(deps, first!)).toEqual(["queued"]);
    // It lived after all, and has been replaced for good.
    const [second] = await readyRuns(["led"]);
    await killed.turn();
    expect(await states(deps, second!)).toEqual(["ready"]);
    await successor.turn();
    expect(await states(deps, second!)).toEqual(["queued"]);
  });
});
