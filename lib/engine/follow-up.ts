import { advanceBackfill } from "./backfill/advance.ts";
import type { EngineDeps } from "./deps.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import { type Effects, isEmpty, mergeEffects, NO_EFFECTS } from "./effects.ts";
import { announceFenced } from "./fenced.ts";
import { settleRun } from "./settle-run.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

/**
 * Carries out the effects of committed transitions, and those of the transitions that follow from them:
 * the one tail of every transition. What fails keeps nothing else from being carried out; the first
 * error is thrown at the end. Each effect has a scheduler loop as its net, so a caller whose own
 * transition is committed may log the error and leave the rest to the schedulers.
 */
export async function followUp(deps: EngineDeps, given: Effects): Promise<void> {
  const errors: unknown[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      errors.push(error);
      return undefined;
    }
  };
  let next = given;
  while (!isEmpty(next)) {
    deps.notifier.announce("sluice_tasks", next.lanes);
    deps.notifier.announce("sluice_runs", next.changedRuns);
    if (next.hasFenced) announceFenced(deps);
    const made: Effects[] = [NO_EFFECTS];
    const transition = async (work: () => Promise<Effects>): Promise<void> => {
      made.push((await attempt(work)) ?? NO_EFFECTS);
    };
    for (const runId of next.unsettledRuns) await transition(() => settleRun(deps, runId));
    const { dagsWithRoom } = next;
    if (dagsWithRoom.length > 0) await transition(() => startQueuedRuns(deps, dagsWithRoom));
    for (const backfillId of next.backfills) await transition(() => advanceBackfill(deps, backfillId));
    const following = mergeEffects(made);
    if (next.wantsAdmission || following.wantsAdmission) await deps.requestAdmission();
    if (next.hasCallbacks || following.hasCallbacks) await attempt(() => dispatchCallbacks(deps));
    next = { ...following, wantsAdmission: false, hasCallbacks: false };
  }
  if (errors.length > 0) throw errors[0];
}
