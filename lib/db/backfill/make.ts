import type { Order, PlannedSlice, Reprocess } from "#lib/domain/backfill/plan.ts";
import type { Range } from "#lib/domain/backfill/range.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import type { Db, Tx } from "../pool.ts";

/** How a backfill and its queued runs are made. */

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
