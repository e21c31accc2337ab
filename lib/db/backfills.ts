import type { LatestRun, Order, PlannedSlice, Reprocess } from "#lib/domain/backfill/plan.ts";
import type { Range } from "#lib/domain/backfill/range.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import type { ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import { type BackfillState, isFinalBackfillState } from "#lib/domain/states.ts";
import { holdTasks } from "./pauses.ts";
import type { Db, Tx } from "./pool.ts";
import { TASKS_AT_ONCE } from "./runs.ts";

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

export type NewBackfill = {
  dagId: string;
  range: Range;
  /** The place of its schedule; null for all. */
  scheduleOrd: number | null;
  order: Order;
  maxActive: number;
  priority: Priority;
  reprocess: Reprocess;
  conf: Record<string, unknown>;
  note: string | undefined;
  slices: number;
  actor: string;
  key: string | undefined;
  requestHash: string;
};

/** The backfill that holds the key. */
export async function findBackfillKey(
  db: Db,
  dagId: string,
  key: string,
): Promise<{ backfillId: string; requestHash: string } | undefined> {
  const { rows } = await db.query<{ backfillId: string; requestHash: string }>(
    `select id as "backfillId", request_hash as "requestHash" from sluice.backfill where dag_id = $1 and key = $2`,
    [dagId, key],
  );
  return rows[0];
}

export async function insertBackfill(tx: Tx, backfill: NewBackfill): Promise<string> {
  const { rows } = await tx.query<{ id: string }>(
    `with b as (
       insert into sluice.backfill (dag_id, range_start, range_end, schedule_ord, start_order, max_active, priority, reprocess, conf,
                                    note, slices, actor, key, request_hash)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning id, state, actor)
     insert into sluice.backfill_event (backfill_id, to_state, actor) select id, state, actor from b
     returning backfill_id as id`,
    [
      backfill.dagId,
      backfill.range.start,
      backfill.range.end,
      backfill.scheduleOrd,
      backfill.order,
      backfill.maxActive,
      backfill.priority,
      backfill.reprocess,
      JSON.stringify(backfill.conf),
      backfill.note ?? null,
      backfill.slices,
      backfill.actor,
      backfill.key ?? null,
      backfill.requestHash,
    ],
  );
  return rows[0]!.id;
}

/** What the runs of a backfill have in common. */
export type RunsOfBackfill = {
  backfillId: string;
  dagId: string;
  versionId: string;
  conf: Record<string, unknown>;
  params: Record<string, unknown>;
  actor: string;
};

/** `nth`: which run of its slice in the backfill. */
export type NewSlice = Pick<PlannedSlice, "scheduleId" | "logicalDate" | "interval"> & { nth: number };

const MAX_RUNS = 1_000;
/** Each run carries its params, and all of a statement's are one value of the database for a while. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * Inserts the runs as queued ones, in this order, of this version; answers their ids. One is missing when the version is not the DAG's any
 * more, or when it was made before.
 */
export async function queueBackfillRuns(
  tx: Tx,
  common: RunsOfBackfill,
  slices: readonly NewSlice[],
): Promise<string[]> {
  const { backfillId, dagId, versionId, conf, params, actor } = common;
  const shared = JSON.stringify({
    dag: dagId,
    version: versionId,
    kind: "backfill",
    conf,
    params,
    actor,
    backfill: backfillId,
  });
  const most = Math.max(1, Math.min(MAX_RUNS, Math.floor(MAX_BYTES / shared.length)));
  const made: string[] = [];
  for (let at = 0; at < slices.length; at += most) {
    const own = slices.slice(at, at + most).map(({ scheduleId, logicalDate, interval, nth }) => ({
      schedule: scheduleId,
      key: `${backfillId} ${scheduleId} ${logicalDate.toISOString()}${nth === 1 ? "" : ` #${nth}`}`,
      logical: logicalDate,
      start: interval.start,
      end: interval.end,
    }));
    const { rows } = await tx.query<{ run: string }>({
      name: "queue-backfill-runs",
      text: `select q.run from sluice.queue_runs(
               (select jsonb_agg(x || $2::jsonb order by place) from jsonb_array_elements($1::jsonb) with ordinality r(x, place))) q`,
      values: [JSON.stringify(own), shared],
    });
    made.push(...rows.map(({ run }) => run));
  }
  return made;
}

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

/** Holds the tasks of a locked backfill's runs, or lets them go, as its state says now. */
export async function holdBackfillTasks(tx: Tx, backfillId: string): Promise<void> {
  const { rows } = await tx.query<{ id: string }>(
    "select id from sluice.dag_run where backfill_id = $1 and state = 'running' order by id for update",
    [backfillId],
  );
  await holdTasks(
    tx,
    rows.map((row) => row.id),
  );
}

/** A locked backfill that has ended goes on with a run that goes on again. */
export async function reopenBackfill(tx: Tx, backfillId: string, actor: string, reason: string): Promise<void> {
  const backfill = await lockBackfill(tx, backfillId);
  if (backfill === undefined || !isFinalBackfillState(backfill.state)) return;
  await writeBackfillState(tx, backfill, "running", actor, reason);
}

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

/** Slices of a locked backfill whose latest run did not end well, and of which nobody else has a run going; in its order. */
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

/** `yieldsTo`: the DAG that allows one run at a time and has a queued run of its own, which goes first. */
export type Advanced = { started: string[]; more: boolean; ended: boolean; yieldsTo: string | null };

/** Starts as many of a backfill's queued runs as its limit has room for, in its order, and ends it when all of its runs have ended. */
export async function advance(db: Db, backfillId: string): Promise<Advanced> {
  const { rows } = await db.query<Advanced>({
    name: "advance-backfill",
    text: `select started, more, ended, yields_to as "yieldsTo" from sluice.advance_backfill($1, $2)`,
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
