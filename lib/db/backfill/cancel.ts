import { endQuarantine } from "../quarantine.ts";
import { REPLACES } from "../run-actions.ts";
import type { Tx } from "../pool.ts";

/** How the runs of a backfill are ended. */

export const CANCELLED_WITH_BACKFILL = "BACKFILL_CANCELLED";

/**
 * Commits a cancel of each run of a locked backfill of which something may go on: those that have begun and not ended, and those that
 * another action would let go on, which it replaces. Returns the runs. One statement, whatever their number; slices carry them out.
 */
export async function askRunsToEnd(tx: Tx, backfillId: string, actor: string): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>({
    name: "ask-runs-to-end",
    text: `
      with open as materialized (
        select id from sluice.dag_run where backfill_id = $1 and state = 'running'
        union all
        select id from sluice.dag_run where backfill_id = $1 and state = 'queued' and started_at is not null
        union all
        select r.id from sluice.run_action a join sluice.dag_run r on r.id = a.run_id
         where r.backfill_id = $1 and r.ended_at is not null and a.kind not in ('pause', 'resume')),
      asked as (
        insert into sluice.run_action as a (run_id, kind, actor, reason)
        select id, 'cancel', $2, $3 from open order by id
        ${REPLACES})
      select id from open order by id`,
    values: [backfillId, actor, CANCELLED_WITH_BACKFILL],
  });
  const runIds = rows.map((row) => row.id);
  await endQuarantine(tx, "actions", runIds);
  return runIds;
}

/**
 * Ends up to `most` runs that have never begun of a backfill that is being cancelled, of which therefore none begins; returns them.
 * One that goes again has tasks to end as well.
 */
export async function cancelQueuedRuns(tx: Tx, backfillId: string, actor: string, most: number): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>({
    name: "cancel-queued-runs",
    text: `
      with q as materialized (
        select id from sluice.dag_run
         where backfill_id = $1 and state = 'queued' and started_at is null order by logical_date, id limit $4 for update),
      r as (
        update sluice.dag_run r set state = 'cancelled', ended_at = sluice.clock()
         where r.id = any (array(select id from q)) returning r.id),
      e as (
        insert into sluice.event (run_id, from_state, to_state, reason, actor)
        select id, 'queued', 'cancelled', $3, $2 from r)
      select id from r`,
    values: [backfillId, actor, CANCELLED_WITH_BACKFILL, most],
  });
  return rows.map((row) => row.id);
}

/** Who asked for the cancel of a backfill that is being cancelled. */
export async function findCanceller(tx: Tx, backfillId: string): Promise<string | undefined> {
  const { rows } = await tx.query<{ actor: string }>(
    `select actor from sluice.backfill_event where backfill_id = $1 and to_state = 'cancelling' order by id desc limit 1`,
    [backfillId],
  );
  return rows[0]?.actor;
}
