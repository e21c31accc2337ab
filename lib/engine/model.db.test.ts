import fc from "fast-check";
import { expect, test } from "vitest";
import type { Finish } from "#lib/db/finishes.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { ORDERS, REPROCESSES } from "#lib/domain/backfill/plan.ts";
import { isFinalBackfillState, isFinalRunState } from "#lib/domain/states.ts";
import { isOpen } from "#lib/testing/backfill-model.ts";
import { backfills, create } from "#lib/testing/backfill-steps.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { DAGS, LABEL, POOL, QUEUES_OF, readAll, type WorkerId } from "#lib/testing/engine-agreement.ts";
import { begin, emptyModel, type Model, newRun } from "#lib/testing/engine-model.ts";
import { type Command, followed, passTime } from "#lib/testing/engine-steps.ts";
import { holdsAtOnce, keepsLease, moveClock, start, patrolAdmission } from "#lib/testing/engine.ts";
import { people, publishLimits, startRun } from "#lib/testing/people-steps.ts";
import { pauses } from "#lib/testing/pause-steps.ts";
import { due, patrol, releaseLost, startQueued, sweeps } from "#lib/testing/scheduler-steps.ts";
import {
  claimAsReplaced,
  claimFrom,
  claimWith,
  drain,
  type End,
  end,
  handBackAll,
  heartbeat,
  join,
  startWorker,
  tellAhead,
} from "#lib/testing/worker-steps.ts";
import { resumeBackfill } from "./backfill/pause.ts";
import { tendBackfills } from "./backfill/tend.ts";
import { carryOutActions } from "./carry-out-actions.ts";
import type { EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { resumeRun, unpauseDag } from "./pause.ts";
import type { Mark } from "./run-actions.ts";
import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { sweep } from "./sweep.ts";

/**
 * Random histories of everything that happens to an engine, one after the other, on a real Postgres: after each step
 * the tables and the model say the same and every invariant holds, and when all is mended every run ends.
 */

const database = testDatabase();

/** Everything is mended, and all that is left succeeds: every run must end. */
async function heal(model: Model): Promise<void> {
  const { deps, pool } = database;
  for (const dagId of model.pausedDags) await unpauseDag(deps, dagId);
  for (const run of model.runs) if (run.isPaused && isOpen(run)) await resumeRun(deps, run.id);
  for (const { id } of model.backfills) await resumeBackfill(deps, id, "anna");
  await unlimited(model);
  await moveClock(deps, `${model.clockS + 600} s`);
  const healer = await join(deps, "healer", 100);
  await keepsLease(deps, healer);
  await releaseLost(deps);
  for (let round = 0; round < 100; round++) {
    await sweep(deps);
    await startAllQueuedRuns(deps);
    await tendBackfills(deps);
    await carryOutActions(deps);
    await patrolAdmission(deps);
    const claimed = [
      ...(await claimFrom(deps, healer, "default", 100)),
      ...(await claimFrom(deps, healer, "solo", 100)),
      ...(await claimFrom(deps, healer, "own", 100)),
    ];
    const batch = claimed.map(({ taskInstanceId: id, token }) => {
      return { taskInstanceId: id, token, state: "success" as const, reason: "EXIT" };
    });
    if (batch.length > 0) expect(await finish(deps, batch, "worker:healer")).toHaveLength(batch.length);
    const { rowCount } = await pool.query("select from sluice.dag_run where state in ('queued', 'running')");
    if (rowCount === 0) break;
  }
  await tendBackfills(deps);
  const { runs, backfills: ended, live } = await readAll(deps);
  // What each says is an invariant.
  expect(ended.filter(({ state }) => !isFinalBackfillState(state))).toEqual([]);
  expect(runs.filter(({ state }) => !isFinalRunState(state))).toEqual([]);
  expect(live).toEqual([]);
  const findings = await inTx(pool, checkInvariants);
  expect(findings.filter(({ broken }) => broken.length > 0)).toEqual([]);
}

/** Every limit as it is at the start of a history. */
async function unlimited(model: Model): Promise<void> {
  const { deps, pool } = database;
  await upsertPool(pool, POOL.name, POOL.slots, undefined);
  await setSystemLimit(pool, "max_active_tasks", null);
  for (const dag of DAGS) await publishLimits(model, deps, dag);
}

const roll = fc.nat(1_000);
const aDag = fc.constantFrom(...DAGS);
const WORKERS = Object.keys(QUEUES_OF) as WorkerId[];
const aWorker = fc.constantFrom(...WORKERS);
const aPlace = fc.constantFrom(...WORKERS.flatMap((id) => QUEUES_OF[id].map((queue) => ({ id, queue }))));
const oneEnd: fc.Arbitrary<End> = fc.record({
  roll,
  isLate: fc.constantFrom(false, false, false, true),
  end: fc.constantFrom<Finish["state"]>(
    "success",
    "success",
    "success",
    "failed",
    "failed",
    "skipped",
    "deferred",
    "deferred",
  ),
  againS: fc.constantFrom(null, 0, 5, 40),
});
const aBatch = fc.array(oneEnd, { minLength: 1, maxLength: 3 });

/** Of few days, so that backfills come across each other's. */
const dates = fc.record({ first: fc.integer({ min: 1, max: 4 }), days: fc.integer({ min: 1, max: 3 }) });
const aManner = fc.record({
  maxActive: fc.integer({ min: 1, max: 2 }),
  order: fc.constantFrom(...ORDERS),
  reprocess: fc.constantFrom(...REPROCESSES),
});

/** How often each comes, against the others. */
const WEIGHTED: readonly [number, fc.Arbitrary<Command>][] = [
  [4, aDag.map(startRun)],
  [20, fc.tuple(aPlace, fc.integer({ min: 1, max: 5 })).map(([{ id, queue }, most]) => claimWith(id, queue, most))],
  [16, fc.tuple(aBatch, fc.boolean()).map(([batch, handsOn]) => end(batch, handsOn))],
  [2, fc.tuple(aWorker, fc.integer({ min: 2, max: 4 }), fc.subarray([LABEL])).map((of) => startWorker(...of))],
  [2, fc.tuple(aWorker, fc.constantFrom(0, 0, 2, 4)).map(([id, ahead]) => tellAhead(id, ahead))],
  [1, roll.map(claimAsReplaced)],
  [4, aWorker.map(heartbeat)],
  [1, aWorker.map(drain)],
  [1, aWorker.map(handBackAll)],
  [4, fc.constantFrom(-20, 1, 5, 5, 31, 90).map(passTime)],
  // What is ready has waited for hours; every lease has ended.
  [1, fc.constant(3 * 3_600).map(passTime)],
  [3, fc.constant(sweeps)],
  [4, fc.constant(patrol)],
  [2, fc.constant(due)],
  [2, fc.constant(startQueued)],
  [1, roll.map(people.cancel)],
  [2, roll.map(people.clear)],
  [2, roll.map(people.clearFailed)],
  [2, fc.tuple(roll, fc.constantFrom<Mark>("success", "failed", "skipped")).map(([n, mark]) => people.mark(n, mark))],
  [1, roll.map(people.kill)],
  [1, roll.map(people.pause)],
  [4, roll.map(people.resume)],
  [1, aDag.map(people.pauseDag)],
  [4, aDag.map(people.unpauseDag)],
  [1, roll.map((n) => pauses.ofRun(n, true))],
  [2, roll.map((n) => pauses.ofRun(n, false))],
  [1, aDag.map((dag) => pauses.ofDag(dag, true))],
  [2, aDag.map((dag) => pauses.ofDag(dag, false))],
  [1, roll.map((n) => pauses.ofBackfill(n, true))],
  [2, roll.map((n) => pauses.ofBackfill(n, false))],
  [8, fc.tuple(roll, fc.integer({ min: 1, max: 3 })).map((how) => pauses.slice(...how))],
  [
    4,
    fc
      .tuple(aDag, fc.boolean(), fc.oneof(...[people.clear, people.kill, people.cancel].map((act) => roll.map(act))))
      .map(([dag, isPaused, act]) => followed(pauses.ofDag(dag, isPaused), act)),
  ],
  [1, fc.integer({ min: 0, max: 4 }).map(people.resize)],
  [1, fc.constant(people.removePool)],
  [1, fc.constantFrom(null, null, 0, 1, 3).map(people.limitAll)],
  [
    1,
    fc
      .tuple(aDag, fc.integer({ min: 1, max: 3 }))
      .map(([dag, maxActiveTasks]) => people.limitDag(dag, { maxActiveTasks })),
  ],
  [
    1,
    fc
      .tuple(aDag, fc.integer({ min: 1, max: 2 }))
      .map(([dag, maxActiveTasksPerRun]) => people.limitDag(dag, { maxActiveTasksPerRun })),
  ],
  [
    1,
    fc
      .tuple(aDag, fc.integer({ min: 1, max: 2 }))
      .map(([dag, maxActiveRuns]) => people.limitDag(dag, { maxActiveRuns })),
  ],
  [1, aDag.map((dag) => people.limitDag(dag, {}))],
  [3, fc.tuple(aDag, dates, aManner).map((made) => create(...made))],
  [1, roll.map(backfills.cancel)],
  [1, roll.map(backfills.askToEnd)],
  [1, roll.map(backfills.pause)],
  [3, roll.map(backfills.resume)],
  [2, roll.map(backfills.retry)],
  [3, fc.constant(backfills.tend)],
  [4, fc.constant(backfills.carryOut)],
];
const commands = fc.commands(
  WEIGHTED.flatMap(([weight, command]) => Array.from({ length: weight }, () => command)),
  { maxCommands: 100, size: "max" },
);

/** An engine with four workers and a run of each DAG. */
async function setUp(): Promise<{ model: Model; real: EngineDeps }> {
  const { deps, pool } = database;
  await moveClock(deps, "0");
  await pool.query(
    "truncate sluice.dag_run, sluice.run_progress, sluice.run_action, sluice.parent_ends, sluice.task_instance, sluice.live_attempt, sluice.deferral, sluice.attempt, sluice.event, sluice.worker, sluice.dead_letter, sluice.xcom, sluice.workload_wait, sluice.backfill, sluice.backfill_event",
  );
  await pool.query("update sluice.dag set paused_by = null, paused_at = null");
  await pool.query("update sluice.lane set slots = 0, room = 0, group_room = 0, own_slots = 0");
  // Most pauses are carried out in slices then.
  await holdsAtOnce(deps, 2);
  const model = emptyModel();
  await unlimited(model);
  for (const id of WORKERS)
    model.workers.set(id, { ref: await join(deps, id, 3), state: "active", slots: 3, ahead: 0 });
  for (const dag of DAGS) {
    const run = newRun(await start(deps, dag.spec.id), dag);
    model.runs.push(run);
    begin(run);
  }
  return { model, real: deps };
}

/** A slow machine plays fewer histories. A failure is made small for so long only: it is to be told within the test's time. */
const ENOUGH_MS = 70_000;

test("whatever happens, the engine does what the model says, and all that was started ends", async () => {
  const until = performance.now() + ENOUGH_MS;
  await fc.assert(
    fc.asyncProperty(commands, async (history) => {
      if (performance.now() > until) return;
      const state = await setUp();
      await fc.asyncModelRun(() => state, history);
      await heal(state.model);
    }),
    { numRuns: 60 },
  );
}, 180_000);
