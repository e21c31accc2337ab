import { type BackfillState, isFinalBackfillState } from "#lib/domain/states.ts";
import type { Tx } from "../pool.ts";

/** The state of a backfill, which is changed under its lock. */

export type LockedBackfill = { id: string; dagId: string; state: BackfillState; conf: Record<string, unknown> };

/** Nothing of the backfill is started, and it neither ends nor changes its state, until the transaction is over. */
export async function lockBackfill(tx: Tx, backfillId: string): Promise<LockedBackfill | undefined> {
  const { rows } = await tx.query<LockedBackfill>(
    `select id, dag_id as "dagId", state, conf from sluice.backfill where id = $1 for no key update`,
    [backfillId],
  );
  return rows[0];
}

/** Another state for a locked backfill, with its event; an end only as the database finds it. */
export async function writeBackfillState(
  tx: Tx,
  backfill: LockedBackfill,
  to: Exclude<BackfillState, "success" | "failed" | "cancelled">,
  actor: string,
  reason: string | null,
): Promise<void> {
  await tx.query(
    `with b as (
       update sluice.backfill
          set state = $2, ended_at = null, paused_by = case when $2 = 'paused' then coalesce(paused_by, $4) end where id = $1)
     insert into sluice.backfill_event (backfill_id, from_state, to_state, reason, actor) values ($1, $3, $2, $5, $4)`,
    [backfill.id, to, backfill.state, actor, reason],
  );
}

/** A locked backfill that has ended goes on, with a run that goes on again or until its end is found by what its runs say now. */
export async function reopenBackfill(tx: Tx, backfillId: string, actor: string, reason: string): Promise<void> {
  const backfill = await lockBackfill(tx, backfillId);
  if (backfill === undefined || !isFinalBackfillState(backfill.state)) return;
  await writeBackfillState(tx, backfill, "running", actor, reason);
}
