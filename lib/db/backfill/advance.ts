import type { BackfillState } from "#lib/domain/states.ts";
import type { Db } from "../pool.ts";
import { TASKS_AT_ONCE } from "../runs.ts";

/** How runs of backfills are started within their limits, and backfills ended. */

/**
 * Where the DAG allows one run at a time: `yieldsTo` is the DAG when it has a queued run of its own, which goes first, and
 * `nextBackfill` the backfill that may start a run because this one has none to start.
 */
export type Advanced = {
  started: string[];
  more: boolean;
  ended: boolean;
  yieldsTo: string | null;
  nextBackfill: string | null;
};

/** Starts as many of a backfill's queued runs as its limit has room for, in its order, and ends it when all of its runs have ended. */
export async function advance(db: Db, backfillId: string): Promise<Advanced> {
  const { rows } = await db.query<Advanced>({
    name: "advance-backfill",
    text: `select started, more, ended, yields_to as "yieldsTo", next_backfill as "nextBackfill" from sluice.advance_backfill($1, $2)`,
    values: [backfillId, TASKS_AT_ONCE],
  });
  return rows[0]!;
}

/** Backfills in which there is something to start, to stop or to end. */
export async function neglectedBackfills(db: Db): Promise<{ id: string; state: BackfillState }[]> {
  const { rows } = await db.query<{ id: string; state: BackfillState }>({
    name: "neglected-backfills",
    text: `
      select b.id, b.state from sluice.backfill b
       where b.ended_at is null
         and (b.state = 'cancelling'
              or b.state = 'running' and b.max_active > (select count(*) from sluice.dag_run r
                                                          where r.backfill_id = b.id and r.state = 'running')
                 and exists (select from sluice.dag_run r
                              where r.backfill_id = b.id and r.state = 'queued' and r.paused_by is null)
                 and exists (select from sluice.dag d where d.id = b.dag_id and not d.missing)
              or not exists (select from sluice.dag_run r where r.backfill_id = b.id and r.state = 'running')
                 and not exists (select from sluice.dag_run r where r.backfill_id = b.id and r.state = 'queued'))
       order by b.id`,
  });
  return rows;
}
