import { AppError } from "#lib/domain/errors.ts";
import { isFinalBackfillState } from "#lib/domain/states.ts";
import { askRunsToEnd, cancelQueuedRuns, findCanceller } from "#lib/db/backfill/cancel.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { inTx } from "#lib/db/tx.ts";
import { asFarAsYoung } from "../carry-out-actions.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { leavingToSchedulers } from "../run-actions.ts";

/** So many queued runs are ended in one transaction. */
const QUEUED_AT_ONCE = 5_000;

/**
 * Ends all runs of a backfill that have not ended, and the backfill with them. One commit keeps every queued run from starting and asks
 * each of the others to end; the caller then carries out what it can within a second, and schedulers the rest, also when the caller
 * dies. False when the backfill has ended already. Throws `backfill_not_found`.
 */
export async function cancelBackfill(deps: EngineDeps, backfillId: string, actor: string): Promise<boolean> {
  const asked = await inTx(deps.pool, async (tx) => {
    const backfill = await lockBackfill(tx, backfillId);
    if (backfill === undefined) throw new AppError("backfill_not_found", `There is no backfill ${backfillId}.`);
    if (isFinalBackfillState(backfill.state)) return undefined;
    if (backfill.state !== "cancelling") await writeBackfillState(tx, backfill, "cancelling", actor, null);
    return askRunsToEnd(tx, backfillId, actor);
  });
  if (asked === undefined) return false;
  return leavingToSchedulers(deps, { backfillId }, async () => {
    await endQueuedRuns(deps, backfillId, actor);
    await asFarAsYoung(deps, asked);
    await followUp(deps, effects({ backfills: [backfillId] }));
    return true;
  });
}

/** Ends some of the runs that have never begun of a backfill that is being cancelled; true when there may be more. */
async function endQueuedRuns(deps: EngineDeps, backfillId: string, actor: string): Promise<boolean> {
  const ended = await inTx(deps.pool, (tx) => cancelQueuedRuns(tx, backfillId, actor, QUEUED_AT_ONCE));
  await followUp(deps, effects({ changedRuns: ended }));
  return ended.length === QUEUED_AT_ONCE;
}

/**
 * The rest of what a cancel of a backfill asks for, by a scheduler: ends what is queued, has what a person let go on since asked to
 * end as well, and ends the backfill when nothing of it is left.
 */
export async function stopRuns(deps: EngineDeps, backfillId: string): Promise<void> {
  const actor = await inTx(deps.pool, async (tx) => {
    const backfill = await lockBackfill(tx, backfillId);
    if (backfill?.state !== "cancelling") return undefined;
    const canceller = (await findCanceller(tx, backfillId)) ?? "sweep";
    await askRunsToEnd(tx, backfillId, canceller);
    return canceller;
  });
  if (actor === undefined) return;
  while (await endQueuedRuns(deps, backfillId, actor));
  await followUp(deps, effects({ backfills: [backfillId] }));
}
