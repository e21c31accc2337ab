import { AppError } from "#lib/domain/errors.ts";
import type { BackfillState } from "#lib/domain/states.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { holdRunsOf } from "#lib/db/pauses.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { carryOutCommitted } from "../run-actions.ts";

/**
 * No run of the backfill starts, and no task of those that go on is admitted, until it is resumed; what runs goes on to its
 * end. Answers the backfill's state, which is `paused` unless it has ended or is being cancelled. Throws `backfill_not_found`.
 */
export function pauseBackfill(deps: EngineDeps, backfillId: string, actor: string): Promise<BackfillState> {
  return move(deps, backfillId, "running", "paused", actor);
}

/** Goes on with a paused backfill; answers its state. Throws `backfill_not_found`. */
export async function resumeBackfill(deps: EngineDeps, backfillId: string, actor: string): Promise<BackfillState> {
  const state = await move(deps, backfillId, "paused", "running", actor);
  await followUp(deps, effects({ backfills: [backfillId], wantsAdmission: true }));
  return state;
}

async function move(
  deps: EngineDeps,
  backfillId: string,
  from: "running" | "paused",
  to: "running" | "paused",
  actor: string,
): Promise<BackfillState> {
  const { state, asked } = await inTx(deps.pool, async (tx) => {
    const backfill = await lockBackfill(tx, backfillId);
    if (backfill === undefined) throw new AppError("backfill_not_found", `There is no backfill ${backfillId}.`);
    if (backfill.state !== from) return { state: backfill.state, asked: [] };
    await writeBackfillState(tx, backfill, to, actor, null);
    return { state: to, asked: await holdRunsOf(tx, "backfill", backfillId, actor) };
  });
  await carryOutCommitted(deps, { backfillId }, asked);
  return state;
}
