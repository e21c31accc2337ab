import { runIdOf } from "#lib/domain/ids.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { type Continued, type Finish, type Finished, finishRunning } from "#lib/db/finishes.ts";
import { retried } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import { advanceBackfill } from "./backfill/advance.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import type { EngineDeps } from "./deps.ts";
import { LEASE_MS } from "./lease.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";
import { settleRun } from "./settle-run.ts";

/**
 * Ends a batch of running attempts. Answers the task instances whose end was accepted; one that is missing was
 * fenced: its token is no longer the live one, its result is dropped, and that is a normal outcome. Returns when
 * what the ends made possible has been handed out.
 */
export async function finish(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<string[]> {
  const finished = await end(deps, batch, actor);
  await handOn(deps, finished);
  return finished.accepted;
}

export type Ended = {
  accepted: ReadonlySet<string>;
  /** What the worker goes on with, claimed already, by the task instance whose slot it has. */
  continued: ReadonlyMap<string, Continued>;
};

/**
 * The same for a worker, which must not wait for others' tasks: returns at the commit, with the children it goes on
 * with. Admission follows in the background; when it fails the scheduler's regular pass is the net.
 */
export async function finishAndContinue(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<Ended> {
  const finished = await end(deps, batch, actor);
  handOn(deps, finished).catch((error: unknown) => {
    deps.log.warn({ error: messageOf(error) }, "what ends have made possible was not handed out; a scheduler will");
  });
  return { accepted: new Set(finished.accepted), continued: finished.continued };
}

async function end(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<Finished> {
  const finished = await retried(() => finishRunning(deps.pool, batch, actor, LEASE_MS));
  deps.notifier.announce("sluice_runs", finished.accepted.map(runIdOf));
  return finished;
}

async function handOn(deps: EngineDeps, finished: Finished): Promise<void> {
  const { unsettledRuns, dagsWithRoom, backfills, callsForAdmission, hasCallbacks } = finished;
  for (const runId of unsettledRuns) await settleRun(deps, runId);
  for (const dagId of dagsWithRoom) await startQueuedRuns(deps, dagId);
  for (const backfillId of backfills) await advanceBackfill(deps, backfillId);
  // Also without an unlocked child: the slot that fell free may be what another run waits for.
  if (callsForAdmission) await admit(deps);
  if (hasCallbacks) await dispatchCallbacks(deps);
}
