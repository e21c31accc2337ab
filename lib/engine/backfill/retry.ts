import { AppError } from "#lib/domain/errors.ts";
import { readBackfillGround, unluckySlices } from "#lib/db/backfill/ground.ts";
import { queueBackfillRuns } from "#lib/db/backfill/make.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import type { Tx } from "#lib/db/pool.ts";
import { findBackfill } from "#lib/db/backfill-reads.ts";
import { lockSchedules } from "#lib/db/schedules.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "../deps.ts";
import { effects } from "../effects.ts";
import { followUp } from "../follow-up.ts";
import { backfillParams, refused } from "./prepare.ts";

/**
 * Queues another run of each logical date whose latest run in the backfill failed or was cancelled. They are runs of the
 * DAG's version of now, which may be what was repaired, and of the backfill's conf; the old runs stay. Answers how many. A backfill that has ended
 * goes on with them. Throws `backfill_not_found`, and `invalid_request` when it is being cancelled or its DAG cannot be
 * started with its conf.
 */
export async function retryBackfill(deps: EngineDeps, backfillId: string, actor: string): Promise<number> {
  const retried = await inTx(deps.pool, (tx) => retry(tx, backfillId, actor));
  if (retried > 0) await followUp(deps, effects({ backfills: [backfillId] }));
  return retried;
}

async function retry(tx: Tx, backfillId: string, actor: string): Promise<number> {
  const found = await findBackfill(tx, backfillId);
  if (found === undefined) throw new AppError("backfill_not_found", `There is no backfill ${backfillId}.`);
  const { dagId } = found;
  // Before the backfill, as everybody takes them: the version must not change in between.
  await lockSchedules(tx, dagId);
  const backfill = (await lockBackfill(tx, backfillId))!;
  if (backfill.state === "cancelling")
    throw refused(`backfill ${backfillId} is being cancelled: retry it when that is done`);
  const slices = await unluckySlices(tx, backfillId);
  if (slices.length === 0) return 0;
  const ground = (await readBackfillGround(tx, dagId))!;
  if (ground.missing) throw refused(`the file of the DAG "${dagId}" is gone, so nothing of it can be started`);
  const { versionId } = ground;
  const params = backfillParams(ground.params, backfill.conf);
  const made = await queueBackfillRuns(
    tx,
    { backfillId, dagId, versionId, conf: backfill.conf, params, actor },
    slices,
  );
  if (made.length !== slices.length) throw new Error(`${made.length} of ${slices.length} runs of a retry were made`);
  const to = backfill.state === "paused" ? "paused" : "running";
  await writeBackfillState(tx, backfill, to, actor, "RETRIED");
  return made.length;
}
