import { downstream, upstream } from "#lib/domain/lineage.ts";
import { settlingSlice, type Slice, type Target, targetsSlice } from "#lib/domain/rewrite.ts";
import { isFinalRunState, isFinalTaskState, type TaskState } from "#lib/domain/states.ts";
import { AppError } from "#lib/domain/errors.ts";
import { reopenBackfill } from "#lib/db/backfill/state.ts";
import type { Tx } from "#lib/db/pool.ts";
import {
  type ActionArgs,
  type ActionKind,
  type ActionProgress,
  endAction,
  findActionKind,
  readAction,
  type RunAction,
  runsWithActions,
  writeProgress,
} from "#lib/db/run-actions.ts";
import { lockBackfillOf, lockRun, type VersionGraph } from "#lib/db/run-states.ts";
import { inOneTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, NO_EFFECTS } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { isolatingEach } from "./quarantine.ts";
import { effectsOfSlice, readView, type RunView, SLICE_ROWS, writeSlice } from "./rewrite-run.ts";

/** How people's actions on runs are carried out: in slices, each a transaction of its own, by any process. */

/**
 * `none`: the run has no action, or another process has it locked. `unchanged`: the action had nothing to do. `open`: there is
 * another slice to carry out. `left`: this one was not. `complete`: it was the last one.
 */
export type Carried = { outcome: "none" | "unchanged" | "open" | "left" | "complete"; effects: Effects };

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
  return inOneTx(deps.pool, async (tx): Promise<Carried> => {
    await tx.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
    const kind = await findActionKind(tx, runId);
    if (kind === undefined) return { outcome: "none", effects: NO_EFFECTS };
    if (kind !== "cancel") await lockBackfillOf(tx, runId);
    const run = await lockRun(tx, runId);
    const action = await readAction(tx, runId);
    // With another kind in between, other locks come first.
    if (action === undefined || (action.kind === "cancel") !== (kind === "cancel"))
      return { outcome: "none", effects: NO_EFFECTS };
    if (run === undefined) return nothingToDo(tx, runId, action.kind);
    if (action.ageMs >= youngerThanMs) return { outcome: "left", effects: NO_EFFECTS };
    const view = await readView(deps, tx, run);
    const step = action.kind === "cancel" ? cancelling(view, action, most) : moving(view, action, most);
    if (step === undefined) return nothingToDo(tx, runId, action.kind);
    return writeStep(tx, view, action, step);
  });
}

async function nothingToDo(tx: Tx, runId: string, kind: ActionKind): Promise<Carried> {
  return { outcome: (await endAction(tx, runId, kind)) ? "unchanged" : "open", effects: NO_EFFECTS };
}

type Step = { slice: Slice; progress: ActionProgress };

async function writeStep(tx: Tx, view: RunView, action: RunAction, { slice, progress }: Step): Promise<Carried> {
  const { run } = view;
  const { kind, actor, reason } = action;
  const marked = action.kind === "mark" ? action.args.slot : undefined;
  const end = kind === "cancel" ? "cancelled" : undefined;
  const state = await writeSlice(tx, view, slice, { by: { actor, reason, marked }, isAction: true, end });
  const isRevived = isFinalRunState(run.state) && !isFinalRunState(state);
  if (isRevived && run.backfillId !== null) await reopenBackfill(tx, run.backfillId, actor, "RUN_CLEARED");
  const isOver = slice.isLast && (await endAction(tx, run.id, kind));
  if (!slice.isLast) await writeProgress(tx, run.id, kind, progress);
  const effects = { ...effectsOfSlice(view, state), hasFenced: true };
  return { outcome: isOver ? "complete" : "open", effects };
}

/** What is open ends; nothing is decided by its rule any more. Of a run that had ended, what the replaced action has opened. */
function cancelling({ graph, tasks }: RunView, action: RunAction, most: number): Step | undefined {
  if (!action.isRunOpen) return undefined;
  const open = tasks.flatMap(({ state }, ord) => (isFinalTaskState(state) ? [] : [ord]));
  const targets = open.slice(0, most).map((ord): Target => ({ ord, to: "cancelled" }));
  const slice = { ...targetsSlice(graph, tasks, targets), isLast: open.length <= most };
  const total = action.total ?? open.length;
  return { slice, progress: { total, done: Math.max(0, total - (open.length - targets.length)) } };
}

/** Some tasks get another state; when all have it, what waits for them is decided. */
function moving(view: RunView, action: Exclude<RunAction, { kind: "cancel" }>, most: number): Step | undefined {
  const { graph, tasks } = view;
  const found = action.total === null ? { slots: slotsOf(view, action), ready: readyOf(view) } : undefined;
  const { slots, ready } = found ?? action;
  if (slots.length === 0) return undefined;
  const targets = slots
    .slice(action.done, action.done + most)
    .map((ord): Target => ({ ord, to: targetOf(action, ord) }));
  const total = slots.length;
  const done = action.done + targets.length;
  const progress = { found, total, done };
  if (done < total) return { slice: targetsSlice(graph, tasks, targets), progress };
  // An attempt's end may have counted a parent that a later slice has cleared.
  const wereReady = new Set(ready);
  const undecided = readyOf(view).filter((ord) => !wereReady.has(ord));
  return { slice: settlingSlice(graph, tasks, { targets, undecided, most }), progress };
}

function targetOf(action: Exclude<RunAction, { kind: "cancel" }>, slot: number): TaskState {
  if (action.kind === "kill") return "failed";
  return action.kind === "mark" && slot === action.args.slot ? action.args.to : "waiting";
}

/** The slots that get another state; empty when there is nothing to do. */
function slotsOf(view: RunView, action: Exclude<RunAction, { kind: "cancel" }>): number[] {
  const { graph, tasks } = view;
  if (action.kind === "clear")
    // A run that has never begun has no tasks, whatever its version names.
    return [...inScope(view, action.args)].filter((ord) => (tasks[ord]?.state ?? "waiting") !== "waiting");
  const task = tasks[action.args.slot];
  if (task === undefined) return [];
  const { slot } = action.args;
  if (action.kind === "kill") return isFinalTaskState(task.state) || task.state === "waiting" ? [] : [slot];
  if (task.state === action.args.to) return [];
  return [slot, ...downstream(graph, [slot])].filter((ord, at) => at === 0 || (ord !== slot && isDecided(tasks[ord]!)));
}

/** The slots whose tasks are ready and have not begun. */
function readyOf({ tasks }: RunView): number[] {
  return tasks.flatMap(({ state, hasBegun }, ord) => (state === "ready" && !hasBegun ? [ord] : []));
}

/** It has its end from its rule: no attempt of it began, and no person marked it, since it was last cleared. */
function isDecided({ state, hasBegun }: RunView["tasks"][number]): boolean {
  return (state === "skipped" || state === "upstream_failed") && !hasBegun;
}

function inScope({ graph, tasks }: RunView, scope: ActionArgs["clear"]): Set<number> {
  if (scope.slots !== undefined) return downstream(graph, scope.slots);
  const named = scope.tasks === undefined ? tasks.map((_, ord) => ord) : scope.tasks.map((id) => ordOf(graph, id));
  const all = new Set(named);
  if (scope.downstream) for (const ord of downstream(graph, named)) all.add(ord);
  if (scope.upstream) for (const ord of upstream(graph, named)) all.add(ord);
  if (!scope.onlyFailed) return all;
  return new Set(
    [...all].filter((ord) => ["failed", "upstream_failed", "cancelled"].includes(tasks[ord]?.state ?? "")),
  );
}

/** The ordinal of a task of the version. Throws `invalid_request`. */
export function ordOf({ ids }: Pick<VersionGraph, "ids">, id: string): number {
  const ord = ids.indexOf(id);
  if (ord < 0) throw new AppError("invalid_request", `the run has no task "${id}"`);
  return ord;
}

/** So many slices of a run before others have their turn. */
const SLICES_A_TURN = 4;

/**
 * Carries out what people asked of runs and no process has completed: the callers have died, or left large runs to the
 * schedulers. One run's slices do not keep those of others waiting for long.
 */
export async function carryOutActions(deps: EngineDeps, most = SLICE_ROWS): Promise<void> {
  for (let left = await runsWithActions(deps.pool); left.length > 0;) {
    const open = new Set<string>();
    await isolatingEach(
      deps,
      "actions",
      left,
      (runId) => runId,
      async (runId) => {
        for (let turn = 0; turn < SLICES_A_TURN; turn++) {
          const { outcome, effects } = await carryOutSlice(deps, runId, { most });
          await followUp(deps, effects);
          if (outcome !== "open") return;
        }
        open.add(runId);
      },
    );
    left = left.filter((runId) => open.has(runId));
  }
}
