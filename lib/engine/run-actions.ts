import { AppError, messageOf } from "#lib/domain/errors.ts";
import { runIdOf, slotOf } from "#lib/domain/ids.ts";
import { isFinalRunState } from "#lib/domain/states.ts";
import {
  type ActionArgs,
  type ActionGround,
  findActionGround,
  findActionKind,
  insertAction,
  type NewAction,
} from "#lib/db/run-actions.ts";
import { isLostRace, retried } from "#lib/db/tx.ts";
import { ordOf } from "./action-steps.ts";
import { asFarAsYoung, carryOutSlice, isUnfinished, OWN_ROWS } from "./carry-out-actions.ts";
import type { EngineDeps } from "./deps.ts";
import { followUp } from "./follow-up.ts";
import { versionGraph } from "./rewrite-run.ts";

/**
 * What people do to runs and tasks. Each is committed as what is asked of the run before any of it is done, so that it is done
 * whatever becomes of the caller: a small one by the caller itself, the rest of a large one by schedulers. One action of a run at a
 * time, but a cancel replaces any other, and any interrupts a pause or a resume, which continues after it. Throws `run_not_found`, and `action_in_progress` when the run has another action.
 */

type By = { actor: string; reason?: string | undefined };

/** Ends everything of the run that has not ended. False when the run has ended already. */
export async function cancelRun(deps: EngineDeps, runId: string, by: By): Promise<boolean> {
  const { state } = await groundOf(deps, runId);
  if (isFinalRunState(state) && (await findActionKind(deps.pool, runId)) === undefined) return false;
  return act(deps, runId, { kind: "cancel", args: {}, ...of(by) });
}

export type ClearScope = Omit<ActionArgs["clear"], "slots">;

/**
 * Lets tasks run again, as if they never had: their attempts stay in the history, their outputs go. What is running
 * among them is stopped. A run that has ended is queued again. False when the scope names nothing that has started.
 */
export async function clearRun(deps: EngineDeps, runId: string, scope: ClearScope, by: By): Promise<boolean> {
  const { versionId } = await groundOf(deps, runId);
  if (scope.tasks !== undefined) {
    const graph = await versionGraph(deps, deps.pool, versionId);
    for (const id of scope.tasks) ordOf(graph, id);
  }
  return act(deps, runId, { kind: "clear", args: scope, ...of(by) });
}

/** The same for one task and all that depends on it. */
export function clearTask(deps: EngineDeps, taskInstanceId: string, by: By): Promise<boolean> {
  return clearTasks(deps, [taskInstanceId], by);
}

/** The same for some tasks of one run, at least one. */
export async function clearTasks(deps: EngineDeps, taskInstanceIds: readonly string[], by: By): Promise<boolean> {
  const slots: number[] = [];
  for (const id of taskInstanceIds) slots.push(await slotIn(deps, id));
  return act(deps, runIdOf(taskInstanceIds[0]!), { kind: "clear", args: { slots }, ...of(by) });
}

export type Mark = ActionArgs["mark"]["to"];

/**
 * Gives a task an end by hand; a live attempt of it is stopped. What depends on it and got its end without ever
 * running is decided anew, unless a person has marked that as well.
 */
export async function markTask(deps: EngineDeps, taskInstanceId: string, to: Mark, by: By): Promise<boolean> {
  const slot = await slotIn(deps, taskInstanceId);
  return act(deps, runIdOf(taskInstanceId), { kind: "mark", args: { slot, to }, ...of(by, "MARKED") });
}

/** Stops what a task is doing and ends it as failed, without another attempt. False when nothing of it is going on. */
export async function killTask(deps: EngineDeps, taskInstanceId: string, by: By): Promise<boolean> {
  const slot = await slotIn(deps, taskInstanceId);
  return act(deps, runIdOf(taskInstanceId), { kind: "kill", args: { slot }, ...of(by, "KILLED") });
}

function of({ actor, reason }: By, usual: string | null = null): { actor: string; reason: string | null } {
  return { actor, reason: reason ?? usual };
}

async function groundOf({ pool }: EngineDeps, runId: string): Promise<ActionGround> {
  const ground = await findActionGround(pool, runId);
  if (ground === undefined) throw new AppError("run_not_found", `There is no run ${runId}.`);
  return ground;
}

async function slotIn(deps: EngineDeps, taskInstanceId: string): Promise<number> {
  const { versionId, hasTasks } = await groundOf(deps, runIdOf(taskInstanceId));
  const slot = slotOf(taskInstanceId);
  const graph = await versionGraph(deps, deps.pool, versionId);
  if (!hasTasks || graph.ids[slot] === undefined)
    throw new AppError("task_instance_not_found", `There is no task instance ${taskInstanceId}.`);
  return slot;
}

/** False when there was nothing to do; true when it is done, or is being done. */
async function act(deps: EngineDeps, runId: string, action: NewAction): Promise<boolean> {
  if (!(await retried(() => insertAction(deps.pool, runId, action))))
    throw new AppError("action_in_progress", `Another action on run ${runId} is under way; only a cancel replaces it.`);
  return leavingToSchedulers(deps, { runId }, async () => {
    const { outcome, effects } = await carryOutSlice(deps, runId, { most: OWN_ROWS });
    await followUp(deps, effects);
    if (isUnfinished(outcome)) await asFarAsYoung(deps, [runId]);
    return outcome !== "unchanged" && outcome !== "turned";
  });
}

/** Carries out what is committed for these runs, as far as a caller does. */
export async function carryOutCommitted(deps: EngineDeps, about: object, runIds: readonly string[]): Promise<void> {
  if (runIds.length === 0) return;
  await leavingToSchedulers(deps, about, async () => {
    await asFarAsYoung(deps, runIds);
    return true;
  });
}

/** Carries out what is committed already; what fails is left to the schedulers, and is as good as done. */
export async function leavingToSchedulers(
  deps: EngineDeps,
  about: object,
  work: () => Promise<boolean>,
): Promise<boolean> {
  try {
    return await work();
  } catch (error) {
    const message = "an action could not be carried out at once; a scheduler will";
    if (isLostRace(error)) deps.log.info({ ...about, error: error.message }, message);
    else deps.log.warn({ ...about, error: messageOf(error) }, message);
    return true;
  }
}
