import { AppError } from "#lib/domain/errors.ts";
import { isFinalBackfillState } from "#lib/domain/states.ts";
import { cancelQueuedRuns, goingRuns } from "#lib/db/backfill/cancel.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { cancelRun } from "../run-actions.ts";

/**
 * Ends all runs of a backfill that have not ended, and the backfill with them: what is queued at once, what goes on one by
 * one; a scheduler goes on with that if this process dies over it. False when the backfill has ended already. Throws
 * `backfill_not_found`.
 */
export async function cancelBackfill(deps: EngineDeps, backfillId: string, actor: string): Promise<boolean> {
  const queued = await inTx(deps.pool, async (tx) => {
    const backfill = await lockBackfill(tx, backfillId);
    if (backfill === undefined) throw new AppError("backfill_not_found", `There is no backfill ${backfillId}.`);
    if (isFinalBackfillState(backfill.state)) return undefined;
    if (backfill.state !== "cancelling") await writeBackfillState(tx, backfill, "cancelling", actor, null);
    return cancelQueuedRuns(tx, backfillId, actor);
  });
  if (queued === undefined) return false;
  await followUp(deps, effects({ changedRuns: queued }));
  await stopRuns(deps, backfillId, actor);
  return true;
}

/** Cancels what goes on of a backfill that is being cancelled, and ends it. Throws after all others when one cannot be cancelled. */
export async function stopRuns(deps: EngineDeps, backfillId: string, actor: string): Promise<void> {
  const errors: unknown[] = [];
  for (const runId of await goingRuns(deps.pool, backfillId))
    await cancelRun(deps, runId, { actor, reason: "BACKFILL_CANCELLED" }).catch((error: unknown) => errors.push(error));
  await followUp(deps, effects({ backfills: [backfillId] }));
  if (errors.length > 0) throw errors[0];
}
