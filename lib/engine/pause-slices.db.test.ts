import { beforeEach, describe, expect, test } from "vitest";
import { lockBackfill } from "#lib/db/backfill/state.ts";
import { finishRunning } from "#lib/db/finishes.ts";
import { holdSlice, markDagPaused, markRunPaused } from "#lib/db/pauses.ts";
import type { Tx } from "#lib/db/pool.ts";
import { putInQuarantine, readQuarantine } from "#lib/db/quarantine.ts";
import { insertAction, type NewAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { forgetBackfills, january, nothingBroken, publishDaily, runsOf } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  failed,
  forgetRuns,
  holdsAtOnce,
  liveAttempts,
  publish,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { type Held, held, waitsForLock, withoutLockTimeout } from "#lib/testing/races.ts";
import { admit } from "./admit.ts";
import { createBackfill } from "./backfill/create.ts";
import { pauseBackfill, resumeBackfill } from "./backfill/pause.ts";
import { carryOutActions, carryOutSlice, OWN_ROWS } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { followUp } from "./follow-up.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask, killTask, markTask } from "./run-actions.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";

/** Pauses of large runs, whose tasks are held in slices: whatever comes between two of them. */

const database = testDatabase();
const anna = { actor: "anna" };
const FEW = 2;

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
  await holdsAtOnce(database.deps, FEW);
});

type Attempts = Awaited<ReturnType<typeof claimAll>>;

/** A run of six tasks, of which the four in the middle run. */
async function fan(id: string): Promise<{ runId: string; attempts: Attempts }> {
  const { deps } = database;
  await publish(deps, id, { root: [], a: ["root"], b: ["root"], c: ["root"], d: ["root"], end: ["a", "b", "c", "d"] });
  const w = await worker(deps, "w");
  const runId = await start(deps, id);
  await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
  return { runId, attempts: await claimAll(deps, w) };
}

/** Commits a pause or a resume of a run, as a process does that is killed right after. */
async function mark(runId: string, actor: string | null): Promise<void> {
  expect(await inTx(database.pool, (tx) => markRunPaused(tx, runId, actor))).toEqual([runId]);
  await nothingBroken(database.deps);
}

/** One slice of so many tasks, and what follows from it. */
async function slice(runId: string, most: number): Promise<string> {
  const { outcome, effects } = await carryOutSlice(database.deps, runId, { most });
  await followUp(database.deps, effects);
  await nothingBroken(database.deps);
  return outcome;
}

/** The slots of the tasks that are held. */
async function heldIn(runId: string): Promise<number[]> {
  const { rows } = await database.pool.query<{ slot: number }>(
    "select (id & 1048575)::int as slot from sluice.task_instance where run_id = $1 and held and ended_at is null order by id",
    [runId],
  );
  return rows.map(({ slot }) => slot);
}

type Action = { kind: string; actor: string; done: number; total: number | null };

async function actions(): Promise<Action[]> {
  const { rows } = await database.pool.query<Action>(
    "select kind, actor, done, total from sluice.run_action order by run_id",
  );
  return rows;
}

const ALL_OPEN = [1, 2, 3, 4, 5];

describe("a pause of a large run", () => {
  test("keeps everything of it from beginning once it is committed, and its tasks are held in slices", async () => {
    const { deps } = database;
    await publish(deps, "still", { a: [], b: [], c: ["a"], d: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "still");
    const [first] = await claimSome(deps, w, 1);
    // The other one is handed over.
    expect(await liveAttempts(deps)).toEqual(["queued", "running"]);
    await mark(runId, "anna");
    expect([await heldIn(runId), await actions()]).toEqual([
      [],
      [{ kind: "pause", actor: "anna", done: 0, total: null }],
    ]);
    expect(await claimAll(deps, w)).toEqual([]);
    expect(await finish(deps, [success(first!)], "worker:w")).toEqual([first!.taskInstanceId]);
    await admit(deps);
    expect(await liveAttempts(deps)).toEqual(["queued"]);
    expect(await slice(runId, 2)).toBe("open");
    expect([await heldIn(runId), await liveAttempts(deps)]).toEqual([[1, 2], []]);
    expect(await actions()).toEqual([{ kind: "pause", actor: "anna", done: 2, total: 3 }]);
    expect(await slice(runId, 2)).toBe("complete");
    expect([await heldIn(runId), await actions()]).toEqual([[1, 2, 3], []]);
    await admit(deps);
    expect(await states(deps, runId)).toEqual(["success", "ready", "ready", "ready"]);
    await resumeRun(deps, runId);
    expect([await heldIn(runId), await claimAll(deps, w)]).toMatchObject([[], [{}, {}, {}]]);
  });

  test("lets an end wait for the slice that has its task, and no other", async () => {
    const { deps, pool } = database;
    await withoutLockTimeout(deps);
    const { runId, attempts } = await fan("beside");
    await mark(runId, "anna");
    const part = await held(deps, (tx) => holdSlice(tx, runId, 2));
    const end = async (nth: number): Promise<unknown> => {
      const { accepted, busy } = await finishRunning(pool, [failed(attempts[nth]!)], "worker:w", LEASE_MS);
      return { accepted, busy };
    };
    const itself = (nth: number): unknown => ({ accepted: [attempts[nth]!.taskInstanceId], busy: [] });
    expect(await end(2)).toEqual(itself(2));
    const later = end(0);
    await waitsForLock(deps);
    await part.commit();
    expect(await later).toEqual(itself(0));
    await carryOutActions(deps, 1);
    expect(await heldIn(runId)).toEqual([2, 4, 5]);
    await nothingBroken(deps);
  });

  test("settles what an end decides meanwhile, and is over when the run ends", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("settled");
    await mark(runId, "anna");
    await slice(runId, 1);
    await finish(deps, [failed(attempts[0]!)], "worker:w");
    expect((await states(deps, runId)).at(-1)).toBe("upstream_failed");
    await nothingBroken(deps);
    await finish(deps, attempts.slice(1).map(success), "worker:w");
    expect([await runState(deps, runId), (await actions()).length]).toEqual(["failed", 1]);
    expect(await cancelRun(deps, runId, anna)).toBe(false);
    await carryOutActions(deps);
    expect(await actions()).toEqual([]);
    await nothingBroken(deps);
  });

  test("becomes a resume between two slices, and the other way round, and none of them is refused", async () => {
    const { deps } = database;
    const { runId } = await fan("turned");
    await mark(runId, "anna");
    await slice(runId, 3);
    await mark(runId, null);
    expect(await actions()).toMatchObject([{ kind: "resume", done: 0 }]);
    await slice(runId, 1);
    expect(await heldIn(runId)).toEqual([2, 3]);
    await mark(runId, "bert");
    await slice(runId, 1);
    expect([await heldIn(runId), await actions()]).toMatchObject([[1, 2, 3], [{ kind: "pause", actor: "bert" }]]);
    await mark(runId, null);
    await carryOutActions(deps, 1);
    expect([await heldIn(runId), await actions()]).toEqual([[], []]);
  });

  test("is carried out by two processes at once, and by those that have lost their place", async () => {
    const { deps, pool } = database;
    const { runId } = await fan("two");
    await mark(runId, "anna");
    await Promise.all(Array.from({ length: 6 }, () => carryOutSlice(deps, runId, { most: 1 }).catch(() => undefined)));
    await pool.query(`update sluice.run_action set args = '{"from": 5}'`);
    await carryOutActions(deps, 1);
    expect([await heldIn(runId), await actions()]).toEqual([ALL_OPEN, []]);
  });

  test("leaves what else a person asks for meanwhile no longer waiting than a few of its slices take", async () => {
    const { deps, pool } = database;
    await publish(deps, "wide", { a: [], b: [], c: [], d: [], e: [], f: [] });
    const [cancelled, ...paused] = [
      await start(deps, "wide"),
      ...(await Promise.all(Array.from({ length: 6 }, () => start(deps, "wide")))),
    ] as const;
    for (const runId of paused) await mark(runId, "anna");
    let slices = 0;
    let stateInTime = "";
    const query = async (...given: [{ name?: string }]): Promise<unknown> => {
      const isSlice = given[0].name === "hold-slice";
      if (isSlice && ++slices === 1)
        await insertAction(pool, cancelled, { kind: "cancel", args: {}, actor: "bert", reason: null });
      if (isSlice && slices === 16) stateInTime = await runState(deps, cancelled);
      return Reflect.apply(pool.query, pool, given) as unknown;
    };
    const watched = Object.create(pool, { query: { value: query } }) as typeof pool;
    await carryOutActions({ ...deps, pool: watched }, 1);
    expect(stateInTime).toBe("cancelled");
    expect(slices).toBeGreaterThan(20);
    await nothingBroken(deps);
  });

  test("of a run that is gone is forgotten", async () => {
    await database.pool.query("insert into sluice.run_action (run_id, kind, actor) values (77, 'pause', 'anna')");
    await carryOutActions(database.deps);
    expect(await actions()).toEqual([]);
  });

  test("is taken out of quarantine by who asks again", async () => {
    const { deps, pool } = database;
    const { runId } = await fan("broken");
    await mark(runId, "anna");
    await putInQuarantine(pool, "actions", runId, "too slow");
    await carryOutActions(deps);
    expect(await heldIn(runId)).toEqual([]);
    await mark(runId, "anna");
    expect(await readQuarantine(pool, "actions")).toEqual(new Map());
    await carryOutActions(deps);
    expect(await heldIn(runId)).toEqual(ALL_OPEN);
  });
});

describe("what else a person asks of a run that is being paused", () => {
  test.for(["clear", "mark", "kill"] as const)("a %s goes first, and the pause is completed after it", async (kind) => {
    const { deps } = database;
    const { runId, attempts } = await fan(kind);
    await mark(runId, "anna");
    await slice(runId, 1);
    const of = attempts[0]!.taskInstanceId;
    const done = {
      clear: () => clearTask(deps, of, anna),
      mark: () => markTask(deps, of, "skipped", anna),
      kill: () => killTask(deps, of, anna),
    };
    expect(await done[kind]()).toBe(true);
    const becomes = { clear: "ready", mark: "skipped", kill: "failed" } as const;
    expect((await states(deps, runId))[1]).toBe(becomes[kind]);
    await carryOutActions(deps, 1);
    await admit(deps);
    const open = (await states(deps, runId)).flatMap((state, slot) =>
      ["ready", "running", "waiting"].includes(state) ? [slot] : [],
    );
    expect([await heldIn(runId), await actions()]).toEqual([open, []]);
    await nothingBroken(deps);
  });

  test("one that has nothing to do says so, and the pause continues", async () => {
    const { deps } = database;
    const { runId } = await fan("nothing");
    await mark(runId, "anna");
    await slice(runId, 2);
    expect(await clearRun(deps, runId, { tasks: ["end"] }, anna)).toBe(false);
    await carryOutActions(deps);
    expect([await heldIn(runId), await actions()]).toEqual([ALL_OPEN, []]);
  });

  test("a cancel wins, also over a pause that comes while it is under way", async () => {
    const { deps } = database;
    const { runId } = await fan("cancelled");
    await mark(runId, "anna");
    await slice(runId, 2);
    await insertAction(database.pool, runId, { kind: "cancel", args: {}, ...anna, reason: null });
    await slice(runId, 2);
    expect(await inTx(database.pool, (tx) => markDagPaused(tx, "cancelled", "bert"))).toEqual([]);
    expect(await resumeRun(deps, runId)).toBe(true);
    expect(await actions()).toMatchObject([{ kind: "cancel", actor: "anna" }]);
    await carryOutActions(deps);
    expect([await runState(deps, runId), await actions()]).toEqual(["cancelled", []]);
    await nothingBroken(deps);
  });
});

describe("an action that a pause finds under way", () => {
  const CLEAR: NewAction = { kind: "clear", args: { tasks: ["a", "b", "c"] }, actor: "cleo", reason: null };

  test("keeps its row, and continues as the pause after its last slice", async () => {
    const { deps, pool } = database;
    const { runId } = await fan("kept");
    await insertAction(pool, runId, CLEAR);
    await slice(runId, 1);
    expect(await inTx(pool, (tx) => markDagPaused(tx, "kept", "anna"))).toEqual([]);
    expect(await actions()).toMatchObject([{ kind: "clear", actor: "cleo" }]);
    let outcome = "open";
    for (let left = 20; left > 0 && (await actions())[0]?.kind === "clear"; left--) outcome = await slice(runId, 1);
    expect([outcome, await actions()]).toMatchObject(["open", [{ kind: "pause", actor: "anna", done: 0 }]]);
    await carryOutActions(deps, 1);
    expect([await heldIn(runId), await actions()]).toEqual([ALL_OPEN, []]);
    await unpauseDag(deps, "kept");
    await carryOutActions(deps);
    expect([await heldIn(runId), await actions()]).toEqual([[], []]);
    await nothingBroken(deps);
  });

  test("waits with its end for the commit of the pause, or is over before it", async () => {
    const { deps, pool } = database;
    await withoutLockTimeout(deps);
    const { runId } = await fan("crossing");
    await insertAction(pool, runId, { ...CLEAR, kind: "kill", args: { slot: 1 } });
    const pause = await held(deps, (tx) => markDagPaused(tx, "crossing", "anna"));
    const last = carryOutSlice(deps, runId);
    await waitsForLock(deps);
    await pause.commit();
    expect((await last).outcome).toBe("open");
    await carryOutActions(deps);
    expect(await heldIn(runId)).toEqual([2, 3, 4]);

    await insertAction(pool, runId, { ...CLEAR, kind: "kill", args: { slot: 2 } });
    const gate = await held(deps, (tx) => tx.query("select from sluice.run_action for update"));
    const end = carryOutSlice(deps, runId);
    await waitsForLock(deps);
    const resume = inTx(pool, (tx) => markDagPaused(tx, "crossing", null));
    await waitsForLock(deps, 2);
    await gate.commit();
    await Promise.all([end, resume]);
    await carryOutActions(deps);
    expect([await heldIn(runId), await actions()]).toEqual([[], []]);
    await nothingBroken(deps);
  });
});

describe("a pause of a DAG or a backfill with large runs", () => {
  test("makes an action of each, leaves those that are paused by themselves, and is taken back as well", async () => {
    const { deps, pool } = database;
    const { runId: first } = await fan("many");
    const second = await start(deps, "many");
    const own = await start(deps, "many");
    await pauseRun(deps, own, "bert");
    await carryOutActions(deps);
    expect(await inTx(pool, (tx) => markDagPaused(tx, "many", "anna"))).toEqual([first, second, own]);
    await slice(first, 2);
    await unpauseDag(deps, "many");
    await carryOutActions(deps);
    expect([await heldIn(first), await heldIn(second), (await heldIn(own)).length]).toEqual([[], [], 6]);
    await pauseDag(deps, "many", "anna");
    await carryOutActions(deps);
    expect([await heldIn(first), (await heldIn(second)).length]).toEqual([ALL_OPEN, 6]);
    await nothingBroken(deps);
  });

  test.for([
    { most: FEW, waits: true },
    { most: 100, waits: true },
    // The DAG is large, and its run is not.
    { most: 7, waits: false },
  ])("beside a resume of one of its runs, of which neither sees the other: %o", async ({ most, waits }) => {
    const { deps, pool } = database;
    await withoutLockTimeout(deps);
    await holdsAtOnce(deps, most);
    const { runId } = await fan("both");
    if (!waits) await start(deps, "both");
    const pause = (actor: string | null) => (tx: Tx) => markDagPaused(tx, "both", actor);
    const resume = (actor: string | null) => (tx: Tx) => markRunPaused(tx, runId, actor);
    for (const [first, second] of [
      [pause("anna"), resume(null)],
      [resume(null), pause("anna")],
    ] as const) {
      await inTx(pool, pause(null));
      await inTx(pool, resume("bert"));
      await carryOutActions(deps);
      const one = await held(deps, first);
      const other = held(deps, second);
      if (waits) await waitsForLock(deps);
      else await other;
      await one.commit();
      await (await other).commit();
      await carryOutActions(deps);
      expect(await heldIn(runId)).toEqual(ALL_OPEN);
      await nothingBroken(deps);
    }
  });

  test("holds runs of a backfill, and lets them go", async () => {
    const { deps } = database;
    await publishDaily(deps, "daily");
    await holdsAtOnce(deps, 0);
    await worker(deps, "w");
    const created = await createBackfill(deps, { ...january("daily"), maxActive: 3 });
    const id = created.kind === "created" ? created.backfillId : expect.fail(created.kind);
    const [run] = await runsOf(deps, id);
    await pauseBackfill(deps, id, "anna");
    await carryOutActions(deps);
    expect([await heldIn(run!.id), await liveAttempts(deps)]).toEqual([[0], []]);
    await nothingBroken(deps);
    await resumeBackfill(deps, id, "anna");
    await carryOutActions(deps);
    expect(await heldIn(run!.id)).toEqual([]);
    expect((await inTx(database.pool, (tx) => lockBackfill(tx, id)))?.state).toBe("running");
    await nothingBroken(deps);
  });

  test("holds a large run that goes again and has just begun to let its tasks go", async () => {
    const { deps, pool } = database;
    const { runId } = await fan("again");
    await cancelRun(deps, runId, anna);
    await pool.query("update sluice.dag set paused_by = 'bert' where id = 'again'");
    await clearRun(deps, runId, {}, anna);
    await pool.query("update sluice.dag set paused_by = null");
    expect([await runState(deps, runId), (await heldIn(runId)).length]).toEqual(["queued", 6]);
    await startAllQueuedRuns(deps);
    expect(await runState(deps, runId)).toBe("running");
    expect(await actions()).toMatchObject([{ kind: "resume", actor: "limits" }]);
    expect([await slice(runId, 2), await heldIn(runId)]).toEqual(["open", [2, 3, 4, 5]]);
    await pauseDag(deps, "again", "anna");
    await carryOutActions(deps);
    expect((await heldIn(runId)).length).toBe(6);
    await unpauseDag(deps, "again");
    await carryOutActions(deps);
    expect([await heldIn(runId), await states(deps, runId)]).toMatchObject([
      [],
      ["queued", ...ALL_OPEN.map(() => "waiting")],
    ]);
    await nothingBroken(deps);
  });
});

test("a pause of runs of 6,000 tasks writes none of them with its mark, and so many in a slice as its caller says", async () => {
  const { deps, pool } = database;
  await holdsAtOnce(deps, 5_000);
  const TASKS = 6_000;
  const tasks = Array.from({ length: TASKS }, (_, n) => ({ id: `t${n}`, type: "bash", config: { command: "true" } }));
  const spec = DagSpec.parse({ id: "wide", limits: { maxActiveRuns: 10 }, tasks });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "w.yaml", source: "", author: "test" }));
  const w = await worker(deps, "w");
  const runIds = [await start(deps, "wide"), await start(deps, "wide")];
  await startAllQueuedRuns(deps);
  const attempts = await claimSome(deps, w, 3);
  /** What `work` returns, and how many versions of task instances it has written. */
  const writing = (work: (tx: Tx) => Promise<unknown>): Promise<Held<unknown[]>> =>
    held(deps, async (tx) => {
      const written = async (): Promise<number> => {
        const { rows } = await tx.query<{ n: number }>(
          "select n_tup_upd::int as n from pg_stat_xact_user_tables where relid = 'sluice.task_instance'::regclass",
        );
        return rows[0]!.n;
      };
      const before = await written();
      return [await work(tx), (await written()) - before];
    });
  const pause = await writing((tx) => markDagPaused(tx, "wide", "anna"));
  expect(pause.result).toEqual([runIds, 0]);
  await pause.commit();
  const part = await writing(async (tx) => (await holdSlice(tx, runIds[0]!, OWN_ROWS)).rows);
  // What was handed over is taken back besides.
  expect(part.result).toEqual([OWN_ROWS, expect.any(Number)]);
  expect(part.result[1]).toBeLessThan(OWN_ROWS + 200);
  await part.commit();
  // Between slices, as workers end their attempts.
  for (const attempt of attempts) {
    const { accepted, busy } = await finishRunning(pool, [success(attempt)], "worker:w", LEASE_MS);
    expect([accepted, busy]).toEqual([[attempt.taskInstanceId], []]);
    expect((await carryOutSlice(deps, runIds[0]!, { most: 1_000 })).outcome).toBe("open");
  }
  await carryOutActions(deps);
  for (const runId of runIds) expect((await heldIn(runId)).length).toBeGreaterThanOrEqual(TASKS - 3);
  expect(await actions()).toEqual([]);
  await nothingBroken(deps);
}, 60_000);
