import { downstream, upstream } from "#lib/domain/lineage.ts";
import { settlingSlice, type Slice, type Target, targetsSlice } from "#lib/domain/rewrite.ts";
import { isFinalTaskState, type TaskState } from "#lib/domain/states.ts";
import { AppError } from "#lib/domain/errors.ts";
import type { ActionArgs, ActionProgress, RunAction } from "#lib/db/run-actions.ts";
import type { VersionGraph } from "#lib/db/run-states.ts";
import type { RunView } from "./rewrite-run.ts";

/** What the next slice of an action writes, decided from the locked run and how far the action is. */

export type Step = { slice: Slice; progress: ActionProgress };

/** What is open ends; nothing is decided by its rule any more. Of a run that had ended, what the replaced action has opened. */
export function cancelling({ graph, tasks }: RunView, action: RunAction, most: number): Step | undefined {
  if (!action.isRunOpen) return undefined;
  const open = tasks.flatMap(({ state }, ord) => (isFinalTaskState(state) ? [] : [ord]));
  const targets = open.slice(0, most).map((ord): Target => ({ ord, to: "cancelled" }));
  const slice = { ...targetsSlice(graph, tasks, targets), isLast: open.length <= most };
  const total = action.total ?? open.length;
  return { slice, progress: { total, done: Math.max(0, total - (open.length - targets.length)) } };
}

/** Some tasks get another state; when all have it, what waits for them is decided. */
export function moving(view: RunView, action: Exclude<RunAction, { kind: "cancel" }>, most: number): Step | undefined {
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
