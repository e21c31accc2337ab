import { z } from "zod";
import type { History } from "#lib/domain/backfill/estimate.ts";
import { ORDERS, REPROCESSES } from "#lib/domain/backfill/plan.ts";
import { PRIORITIES } from "#lib/domain/model/task.ts";
import { BACKFILL_STATES, RUN_STATES } from "#lib/domain/states.ts";
import type { Db } from "./pool.ts";

const isoTime = z.date().transform((time) => time.toISOString());

const BackfillRow = z.object({
  id: z.string(),
  dagId: z.string(),
  /** The DAG's file is gone: nothing more of it starts until it is back. */
  missing: z.boolean(),
  state: z.enum(BACKFILL_STATES),
  start: isoTime,
  end: isoTime,
  /** From 1; null for all of them. */
  schedule: z.number().int().nullable(),
  order: z.enum(ORDERS),
  maxActive: z.number().int(),
  priority: z.enum(PRIORITIES),
  reprocess: z.enum(REPROCESSES),
  conf: z.record(z.string(), z.json()),
  note: z.string().nullable(),
  actor: z.string(),
  pausedBy: z.string().nullable(),
  createdAt: isoTime,
  endedAt: isoTime.nullable(),
  slices: z.number().int(),
  /** Logical dates by the state of their latest run. */
  counts: z.record(z.enum(RUN_STATES), z.number().int()),
  /** How long its runs that have ended took on average. */
  meanRunMs: z.number().nullable(),
});
export type Backfill = z.output<typeof BackfillRow>;

const SELECT_BACKFILL = `
  select b.id::text, b.dag_id as "dagId", d.missing, b.state, b.range_start as start, b.range_end as "end", b.schedule_ord + 1 as schedule,
         b.start_order as "order", b.max_active as "maxActive", b.priority, b.reprocess, b.conf, b.note, b.actor,
         b.paused_by as "pausedBy", b.created_at as "createdAt", b.ended_at as "endedAt", b.slices,
         jsonb_build_object('queued', s.queued, 'running', s.running, 'success', s.success, 'failed', s.failed,
                            'cancelled', s.cancelled) as counts, s.mean as "meanRunMs"
    from sluice.backfill b
    join sluice.dag d on d.id = b.dag_id
    cross join lateral (
      select count(*) filter (where s.state = 'queued')::int as queued, count(*) filter (where s.state = 'running')::int as running,
             count(*) filter (where s.state = 'success')::int as success, count(*) filter (where s.state = 'failed')::int as failed,
             count(*) filter (where s.state = 'cancelled')::int as cancelled,
             (avg(extract(epoch from s.ended_at - s.started_at)) filter (where s.state in ('success', 'failed')) * 1000)::float8 as mean
        from sluice.backfill_slice s where s.backfill_id = b.id) s`;

/** One backfill with how far it is. */
export async function findBackfill(db: Db, backfillId: string): Promise<Backfill | undefined> {
  const text = `${SELECT_BACKFILL} where b.id = $1::bigint`;
  const { rows } = await db.query({ name: "find-backfill", text, values: [backfillId] });
  return BackfillRow.optional().parse(rows[0]);
}

/** Backfills, the newest first. */
export async function listBackfills(
  db: Db,
  filter: { dagId?: string | undefined; limit: number },
): Promise<Backfill[]> {
  const where = filter.dagId === undefined ? "" : "where b.dag_id = $2";
  const values = filter.dagId === undefined ? [filter.limit] : [filter.limit, filter.dagId];
  const { rows } = await db.query(`${SELECT_BACKFILL} ${where} order by b.id desc limit $1`, values);
  return z.array(BackfillRow).parse(rows);
}

const SliceRow = z.object({
  logicalDate: isoTime,
  schedule: z.string(),
  runId: z.string(),
  state: z.enum(RUN_STATES),
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
});
export type BackfillSlice = z.output<typeof SliceRow>;

/** The latest run of each logical date of a backfill, by logical date. */
export async function listSlices(db: Db, backfillId: string): Promise<BackfillSlice[]> {
  const { rows } = await db.query(
    `select logical_date as "logicalDate", schedule_id::text as schedule, run_id::text as "runId", state,
            started_at as "startedAt", ended_at as "endedAt"
       from sluice.backfill_slice where backfill_id = $1 order by logical_date, schedule_id`,
    [backfillId],
  );
  return z.array(SliceRow).parse(rows);
}

const EventRow = z.object({
  at: isoTime,
  from: z.enum(BACKFILL_STATES).nullable(),
  to: z.enum(BACKFILL_STATES),
  reason: z.string().nullable(),
  actor: z.string(),
});
export type BackfillEvent = z.output<typeof EventRow>;

/** What was done to a backfill, and by whom, in order. */
export async function listBackfillEvents(db: Db, backfillId: string): Promise<BackfillEvent[]> {
  const { rows } = await db.query(
    `select at, from_state as "from", to_state as "to", reason, actor
       from sluice.backfill_event where backfill_id = $1 order by id`,
    [backfillId],
  );
  return z.array(EventRow).parse(rows);
}

/** So many of the DAG's latest successful runs tell how long runs take. */
const HISTORY_RUNS = 100;

export async function runHistory(db: Db, dagId: string): Promise<History> {
  const { rows } = await db.query<{ runs: number; medianMs: number | null; p90Ms: number | null }>(
    `select count(*)::int as runs, percentile_cont(0.5) within group (order by ms) as "medianMs",
            percentile_cont(0.9) within group (order by ms) as "p90Ms"
       from (select (extract(epoch from ended_at - started_at) * 1000)::float8 as ms
               from sluice.dag_run where dag_id = $1 and state = 'success' and started_at is not null
              order by id desc limit $2) r`,
    [dagId, HISTORY_RUNS],
  );
  const { runs, medianMs, p90Ms } = rows[0]!;
  return { runs, medianMs: medianMs ?? 0, p90Ms: p90Ms ?? 0 };
}
