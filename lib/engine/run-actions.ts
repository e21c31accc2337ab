import { AppError } from "#lib/domain/errors.ts";
import { runIdOf, slotOf } from "#lib/domain/ids.ts";
import { downstream, upstream } from "#lib/domain/lineage.ts";
import { isFinalRunState, isFinalTaskState, type TaskState } from "#lib/domain/states.ts";
import type { EngineDeps } from "./deps.ts";
import { followUp } from "./follow-up.ts";
import { type Rewrite, rewriteRun, type RunView } from "./rewrite-run.ts";

/** What people do to runs and tasks. Each looks at the whole run, decides, and writes one consistent difference. */

type By = { actor: string; reason?: string | undefined };

/** Ends everything of the run that has not ended. A run that has ended stays as it is: that is answered as false. */
export async function cancelRun(deps: EngineDeps, runId: string, by: By): Promise<boolean> {
  return act(deps, runId, by, ({ run, states }) =>
    isFinalRunState(run.state)
      ? undefined
      : { states: states.map((state) => (isFinalTaskState(state) ? state : "cancelled")), end: "cancelled" },
  );
}

export type ClearScope = {
  /** Task ids; without them, every task of the run. */
  tasks?: readonly string[] | undefined;
  upstream?: boolean | undefined;
  downstream?: boolean | undefined;
  /** Of all those, only the ones that ended other than well. */
  onlyFailed?: boolean | undefined;
};

/**
 * Lets tasks run again, as if they never had: their attempts stay in the history, their outputs go. What is running
 * among them is stopped. Answers false when the scope names nothing that has started.
 */
export async function clearRun(deps: EngineDeps, runId: string, scope: ClearScope, by: By): Promise<boolean> {
  return act(deps, runId, by, (view) => {
    // A queued run has no tasks yet, whatever its version names.
    const restarted = new Set([...inScope(view, scope)].filter((ord) => (view.states[ord] ?? "waiting") !== "waiting"));
    if (restarted.size === 0) return undefined;
    return restart(view, restarted);
  });
}

/** The same for one task and all that depends on it. */
export async function clearTask(deps: EngineDeps, taskInstanceId: string, by: By): Promise<boolean> {
  return act(deps, runIdOf(taskInstanceId), by, (view) => {
    const ord = slotOf(taskInstanceId);
    if (view.states[ord] === undefined) throw noTask(taskInstanceId);
    return restart(view, downstream(view.graph, [ord]));
  });
}

export type Mark = "success" | "failed" | "skipped";

/**
 * Gives a task an end by hand; a live attempt of it is stopped. What depends on it and never ran because of how it
 * had ended is decided anew.
 */
export async function markTask(deps: EngineDeps, taskInstanceId: string, mark: Mark, by: By): Promise<boolean> {
  return act(deps, runIdOf(taskInstanceId), { reason: "MARKED", ...by }, (view) => {
    const ord = slotOf(taskInstanceId);
    if (view.states[ord] === undefined) throw noTask(taskInstanceId);
    if (view.states[ord] === mark) return undefined;
    const states = [...view.states];
    states[ord] = mark;
    const reached = downstream(view.graph, [ord]);
    for (const below of reached) if (states[below] === "upstream_failed") states[below] = "waiting";
    return { states, restarted: new Set([...reached].filter((below) => states[below] === "waiting")) };
  });
}

/** Stops what a task is doing and ends it as failed, without another attempt. False when nothing of it is going on. */
export async function killTask(deps: EngineDeps, taskInstanceId: string, by: By): Promise<boolean> {
  return act(deps, runIdOf(taskInstanceId), { reason: "KILLED", ...by }, (view) => {
    const ord = slotOf(taskInstanceId);
    const state = view.states[ord];
    if (state === undefined) throw noTask(taskInstanceId);
    if (isFinalTaskState(state) || state === "waiting") return undefined;
    return { states: view.states.with(ord, "failed") };
  });
}

function noTask(taskInstanceId: string): AppError {
  return new AppError("task_instance_not_found", `There is no task instance ${taskInstanceId}.`);
}

async function act(
  deps: EngineDeps,
  runId: string,
  by: By,
  decide: (view: RunView) => Rewrite | undefined,
): Promise<boolean> {
  const { outcome, effects } = await rewriteRun(
    deps,
    runId,
    { actor: by.actor, reason: by.reason ?? null, mayRevive: true },
    decide,
  );
  if (outcome === "missing") throw new AppError("run_not_found", `There is no run ${runId}.`);
  if (effects !== undefined) await followUp(deps, { ...effects, hasFenced: true });
  return outcome === "written";
}

function restart({ states }: RunView, restarted: ReadonlySet<number>): Rewrite {
  return { states: states.map((state, ord): TaskState => (restarted.has(ord) ? "waiting" : state)), restarted };
}

function inScope({ graph, states }: RunView, scope: ClearScope): Set<number> {
  const named = scope.tasks === undefined ? states.map((_, ord) => ord) : scope.tasks.map((id) => ordOf(graph.ids, id));
  const all = new Set(named);
  if (scope.downstream) for (const ord of downstream(graph, named)) all.add(ord);
  if (scope.upstream) for (const ord of upstream(graph, named)) all.add(ord);
  if (!scope.onlyFailed) return all;
  return new Set([...all].filter((ord) => ["failed", "upstream_failed", "cancelled"].includes(states[ord]!)));
}

function ordOf(ids: readonly string[], id: string): number {
  const ord = ids.indexOf(id);
  if (ord < 0) throw new AppError("invalid_request", `the run has no task "${id}"`);
  return ord;
}
