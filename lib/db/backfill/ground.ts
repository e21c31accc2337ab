import type { LatestRun } from "#lib/domain/backfill/plan.ts";
import type { Range } from "#lib/domain/backfill/range.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import type { Db, Tx } from "../pool.ts";
import type { NewSlice } from "./make.ts";

/** What runs of a backfill are decided from: the DAG with its schedules, and the runs that are there. */

/** A DAG as a backfill of it is made from, with the schedules of its current version in their order. */
export type BackfillGround = {
  now: Date;
  missing: boolean;
  versionId: string;
  params: Record<string, ParamSchema> | null;
  timezone: string;
  schedules: { id: string; definition: ScheduleDefinition; position: Date | null }[];
};

type ScheduleRow = { id: string; definition: ScheduleDefinition; position: Date; starts: boolean };

export async function readBackfillGround(db: Db, dagId: string): Promise<BackfillGround | undefined> {
  const { rows } = await db.query<Omit<BackfillGround, "schedules">>(
    `select sluice.clock() as now, d.missing, v.id as "versionId", v.params, coalesce(v.spec ->> 'timezone', 'UTC') as timezone
       from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id where d.id = $1`,
    [dagId],
  );
  const [ground] = rows;
  if (ground === undefined) return undefined;
  const found = await db.query<ScheduleRow>(
    `select id, definition, position, next_at is not null as starts
       from sluice.schedule where dag_id = $1 and ord is not null order by ord`,
    [dagId],
  );
  const schedules = found.rows.map(({ id, definition, position, starts }) => ({
    id,
    definition,
    position: starts ? position : null,
  }));
  return { ...ground, schedules };
}

/**
 * The latest run of each instant between these that these schedules or backfills of them made; one that is open is the latest. By when
 * it was due and not by its logical date, which another calendar moves.
 */
export async function latestRuns(
  db: Db,
  dagId: string,
  scheduleIds: readonly string[],
  due: Range,
): Promise<LatestRun[]> {
  const { rows } = await db.query<LatestRun>(
    `select distinct on (interval_end, schedule_id)
            schedule_id as "scheduleId", interval_end as due, id::text as "runId", state
       from sluice.dag_run
      where dag_id = $1 and interval_end between $3 and $4 and schedule_id = any ($2::bigint[])
      order by interval_end, schedule_id, ended_at is null desc, id desc`,
    [dagId, scheduleIds, due.start, due.end],
  );
  return rows;
}

/**
 * Slices of a locked backfill, in its order, whose latest run did not end well and whose date has no open run of any backfill of
 * the DAG.
 */
export async function unluckySlices(tx: Tx, backfillId: string): Promise<NewSlice[]> {
  type Row = { scheduleId: string; logicalDate: Date; start: Date; end: Date; nth: number };
  const { rows } = await tx.query<Row>(
    // The open runs of the DAG are few and found by their indexes; NOT IN looks them up in a hash table.
    `with b as (select id, dag_id, start_order from sluice.backfill where id = $1),
     open as (
       select o.logical_date, o.schedule_id from sluice.dag_run o where o.dag_id = (select dag_id from b) and o.state = 'running'
       union all
       select o.logical_date, o.schedule_id from sluice.dag_run o
        where o.dag_id = (select dag_id from b) and o.state = 'queued' and o.backfill_id is null
       union all
       select o.logical_date, o.schedule_id from sluice.backfill x join sluice.dag_run o on o.backfill_id = x.id and o.state = 'queued'
        where x.dag_id = (select dag_id from b) and x.ended_at is null)
     select s.schedule_id as "scheduleId", s.logical_date as "logicalDate", s.interval_start as start, s.interval_end as end,
            1 + (select count(*)::int from sluice.dag_run r
                  where r.backfill_id = s.backfill_id and r.logical_date = s.logical_date and r.schedule_id = s.schedule_id) as nth
       from sluice.backfill_slice s
      where s.backfill_id = $1 and s.state in ('failed', 'cancelled')
        and (s.logical_date, s.schedule_id) not in (select logical_date, schedule_id from open where schedule_id is not null)
      order by case when (select start_order from b) = 'asc' then s.logical_date end, s.logical_date desc, s.schedule_id`,
    [backfillId],
  );
  return rows.map(({ start, end, ...slice }) => ({ ...slice, interval: { start, end } }));
}
