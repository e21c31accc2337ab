import { isFinalRunState } from "#lib/domain/states.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { reopenBackfill } from "#lib/db/backfill/state.ts";
import { holdSlice } from "#lib/db/pauses.ts";
import type { Tx } from "#lib/db/pool.ts";
import {
  type ActionKind,
  endAction,
  findActionKind,
  isHold,
  readAction,
  type RunAction,
  type RunWithAction,
  runsWithActions,
  writeProgress,
} from "#lib/db/run-actions.ts";
import { lockBackfillOf, lockRun } from "#lib/db/run-states.ts";
import { inOneTx, isLostRace } from "#lib/db/tx.ts";
import { cancelling, moving, type Step } from "./action-steps.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, effects, mergeEffects, NO_EFFECTS } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { isolatingEach } from "./quarantine.ts";
import { effectsOfRun, effectsOfSlice, readView, type RunView, SLICE_ROWS, writeSlice } from "./rewrite-run.ts";

/** How people's actions on runs, and pauses of large runs, are carried out: in slices, each a transaction of its own, by any process. */

/**
 * `none`: the run has no action, or another process has it locked. `unchanged`: the action had nothing to do. `open`: there is
 * another slice to carry out. `turned`: as `unchanged`, but what paused or resumed the run meanwhile is to be carried out.
 * `left`: this one was not. `complete`: it was the last one. `rows`: about so many were written.
 */
export type Carried = {
  outcome: "none" | "unchanged" | "turned" | "open" | "left" | "complete";
  effects: Effects;
  rows: number;
};

const NOTHING = { effects: NO_EFFECTS, rows: 0 };

/** A lock of the run or its backfill that is held for longer is waited for by the next try. */
const LOCK_TIMEOUT = "1s";

/**
 * Carries out one slice of the run's action, of at most about `most` tasks; of one that was asked for longer than `youngerThanMs`
 * ago, none. Fails when it loses a race: it is safe to repeat.
 */
export async function carryOutSlice(
  deps: EngineDeps,
  runId: string,
  { most = SLICE_ROWS, youngerThanMs = Infinity }: { most?: number; youngerThanMs?: number } = {},
): Promise<Carried> {
  const known = await findActionKind(deps.pool, runId);
  if (known === undefined) return { outcome: "none", ...NOTHING };
  const { kind, ageMs } = known;
  if (isHold(kind)) return ageMs >= youngerThanMs ? { outcome: "left", ...NOTHING } : carryOutHold(deps, runId, most);
  return inOneTx(deps.pool, async (tx): Promise<Carried> => {
    await tx.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
    await lockBackfillOf(tx, runId, kind === "cancel");
    const run = await lockRun(tx, runId);
    const action = await readAction(tx, runId);
    // With another kind in between, other locks come first.
    if (action === undefined || (action.kind === "cancel") !== (kind === "cancel"))
      return { outcome: "none", ...NOTHING };
    if (run === undefined) return nothingToDo(tx, runId, action.kind, NO_EFFECTS);
    if (action.ageMs >= youngerThanMs) return { outcome: "left", ...NOTHING };
    const view = await readView(deps, tx, run);
    const step = action.kind === "cancel" ? cancelling(view, action, most) : moving(view, action, most);
    // What the action has kept from beginning may begin.
    if (step === undefined) return nothingToDo(tx, runId, action.kind, effectsOfRun(run, run.state));
    return writeStep(tx, view, action, step);
  });
}

/** A slice of a pause or a resume. What it has held may run where it is not paused any more, and others in its place. */
async function carryOutHold(deps: EngineDeps, runId: string, most: number): Promise<Carried> {
  const { outcome, rows, takenBack, dagId, backfillId, state } = await holdSlice(deps.pool, runId, most);
  if (outcome === null) return { outcome: "none", ...NOTHING };
  if (outcome === "open" || state === null || dagId === null)
    return { outcome, effects: effects({ changedRuns: [runId], wantsAdmission: takenBack > 0 }), rows };
  return { outcome, effects: effectsOfRun({ id: runId, dagId, backfillId }, state), rows };
}

async function nothingToDo(tx: Tx, runId: string, kind: ActionKind, effects: Effects): Promise<Carried> {
  const how = await endAction(tx, runId, kind);
  return { outcome: how === "ended" ? "unchanged" : how === "turned" ? "turned" : "open", effects, rows: 0 };
}

async function writeStep(tx: Tx, view: RunView, action: RunAction, { slice, progress }: Step): Promise<Carried> {
  const { run } = view;
  const { kind, actor, reason } = action;
  const marked = action.kind === "mark" ? action.args.slot : undefined;
  const end = kind === "cancel" ? "cancelled" : undefined;
  const state = await writeSlice(tx, view, slice, { by: { actor, reason, marked }, isAction: true, end });
  // Its backfill goes on with it, or ends anew by what it says now.
  if (isFinalRunState(run.state) && state !== run.state && run.backfillId !== null)
    await reopenBackfill(tx, run.backfillId, actor, isFinalRunState(state) ? "RUN_ENDED_ANEW" : "RUN_CLEARED");
  const isOver = slice.isLast && (await endAction(tx, run.id, kind)) === "ended";
  if (!slice.isLast) await writeProgress(tx, run.id, kind, progress);
  const made = { ...effectsOfSlice(view, state), hasFenced: true };
  return { outcome: isOver ? "complete" : "open", effects: made, rows: slice.changes.length + slice.counts.length };
}

/** A caller's slices are smaller, and it begins none when so long has passed, so that it returns within two seconds. */
export const OWN_ROWS = 2_000;
const OWN_MS = 700;

/**
 * Carries out the actions of these runs by their caller, one after the other, as long as they are young. The rest is left to
 * schedulers, also when one loses a race.
 */
export async function asFarAsYoung(deps: EngineDeps, runIds: readonly string[]): Promise<void> {
  const made: Effects[] = [NO_EFFECTS];
  try {
    for (const runId of runIds) {
      let outcome: Carried["outcome"] = "open";
      while (isUnfinished(outcome)) {
        const carried = await carryOutSlice(deps, runId, { most: OWN_ROWS, youngerThanMs: OWN_MS });
        made.push(carried.effects);
        ({ outcome } = carried);
      }
      if (outcome === "left") return;
    }
  } finally {
    await followUp(deps, mergeEffects(made));
  }
}

/** So many slices of a run before others have their turn. */
const SLICES_A_TURN = 4;
/** Pauses and resumes of a round write about so many slices' rows together: what a person asks for meanwhile joins the next round. */
const HELD_SLICES_A_ROUND = 4;

/**
 * Carries out what people asked of runs and no process has completed: the callers have died, or left large runs to the
 * schedulers. One run's slices do not keep those of others waiting for long: runs have turns, in rounds that what was asked for
 * meanwhile joins. A run that others have locked is passed over, and has another turn when nothing else is left.
 */
export async function carryOutActions(deps: EngineDeps, most = SLICE_ROWS): Promise<void> {
  /** Those that had a turn in this pass and are not to have another. */
  const passed = new Set<string>();
  const contended = new Set<string>();
  const tail = createTail(deps);
  let race: unknown;
  for (let hasMoved = false; ;) {
    const round = (await runsWithActions(deps.pool)).filter(({ runId }) => !passed.has(runId));
    let held = 0;
    if (round.length === 0 && contended.size > 0 && hasMoved) {
      for (const runId of contended) passed.delete(runId);
      contended.clear();
      hasMoved = false;
      continue;
    }
    if (round.length === 0) break;
    for (const { runId } of round) passed.add(runId);
    const work = async ({ runId, kind }: RunWithAction): Promise<void> => {
      if (isHold(kind) && held >= HELD_SLICES_A_ROUND * most) return void passed.delete(runId);
      try {
        const { outcome, rows } = await takeTurn(deps, runId, most, tail);
        if (isUnfinished(outcome)) passed.delete(runId);
        if (isHold(kind)) held += rows;
        hasMoved = true;
      } catch (error) {
        if (isLostRace(error)) contended.add(runId);
        throw error;
      }
    };
    try {
      await isolatingEach(deps, "actions", round, ({ runId }) => runId, work);
    } catch (error) {
      if (!isLostRace(error)) throw error;
      race = error;
    } finally {
      await tail.followUp();
    }
  }
  if (contended.size > 0) throw race;
}

/** There is another slice to carry out. */
export function isUnfinished(outcome: Carried["outcome"]): boolean {
  return outcome === "open" || outcome === "turned";
}

async function takeTurn(
  deps: EngineDeps,
  runId: string,
  most: number,
  tail: Tail,
): Promise<Pick<Carried, "outcome" | "rows">> {
  let outcome: Carried["outcome"] = "open";
  let rows = 0;
  for (let slice = 0; slice < SLICES_A_TURN && isUnfinished(outcome); slice++) {
    const carried = await carryOutSlice(deps, runId, { most });
    ({ outcome } = carried);
    rows += carried.rows;
    await tail.add(carried);
  }
  return { outcome, rows };
}

/** What follows from so many slices, or slices of so many rows, is carried out together: a backfill has thousands of small runs. */
const SLICES_A_TAIL = 50;
const ROWS_A_TAIL = 1_000;

type Tail = { add: (carried: Carried) => Promise<void>; followUp: () => Promise<void> };

/** The tail of slices, which are committed: what fails in it is the fault of none of their runs. */
function createTail(deps: EngineDeps): Tail {
  let made: Carried[] = [];
  const carryOut = async (): Promise<void> => {
    const all = mergeEffects([NO_EFFECTS, ...made.map(({ effects }) => effects)]);
    made = [];
    await followUp(deps, all).catch((error: unknown) => {
      deps.log.warn({ error: messageOf(error) }, "follow-up of actions failed; a scheduler will retry");
    });
  };
  return {
    add: async (carried) => {
      made.push(carried);
      const rows = made.reduce((sum, one) => sum + one.rows, 0);
      if (made.length >= SLICES_A_TAIL || rows >= ROWS_A_TAIL) await carryOut();
    },
    followUp: carryOut,
  };
}
