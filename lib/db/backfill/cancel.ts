import type { Db, Tx } from "../pool.ts";

/** How the runs of a backfill are ended. */

/** Ends the runs of a locked backfill that have never begun; returns them. One that goes again has tasks to end as well. */
export async function cancelQueuedRuns(tx: Tx, backfillId: string, actor: string): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `with q as materialized (
       select id from sluice.dag_run
        where backfill_id = $1 and state = 'queued' and started_at is null order by id for update),
     r as (
       update sluice.dag_run r set state = 'cancelled', ended_at = sluice.clock() from q where r.id = q.id returning r.id),
     e as (
       insert into sluice.event (run_id, from_state, to_state, reason, actor)
       select id, 'queued', 'cancelled', 'BACKFILL_CANCELLED', $2 from r)
     select id from r`,
    [backfillId, actor],
  );
  return rows.map((row) => row.id);
}

/** Runs of the backfill that have begun and not ended. */
export async function goingRuns(db: Db, backfillId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from sluice.dag_run where backfill_id = $1 and (state = 'running' or state = 'queued' and started_at is not null)
      order by id`,
    [backfillId],
  );
  return rows.map((row) => row.id);
}
