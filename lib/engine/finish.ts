import { runIdOf } from "#lib/domain/ids.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import { retried } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";
import { settleRun } from "./settle-run.ts";

/**
 * Ends a batch of running attempts. Answers the task instances whose end was accepted; one that is missing was
 * fenced: its token is no longer the live one, its result is dropped, and that is a normal outcome.
 */
export async function finish(deps: EngineDeps, batch: readonly Finish[], actor: string): Promise<string[]> {
  const result = await retried(() => finishRunning(deps.pool, batch, actor));
  deps.notifier.announce("sluice_runs", result.accepted.map(runIdOf));
  for (const runId of result.unsettledRuns) await settleRun(deps, runId);
  for (const dagId of result.dagsWithRoom) await startQueuedRuns(deps, dagId);
  // Also without an unlocked child: the slot that fell free may be what another run waits for.
  await admit(deps);
  return result.accepted;
}
