import type { Db } from "./pool.ts";

/** What one slice deleted, and after how many milliseconds the next one is due; null when nothing is left to delete. */
export type Slice = { deleted: number; waitMs: number | null };

/**
 * Deletes up to `most` rows of runs that have been kept long enough since their end, in one transaction; nothing before the time that
 * the last slice of any scheduler asked for.
 */
export async function deleteSlice(db: Db, most: number): Promise<Slice> {
  const { rows } = await db.query<Slice>({
    name: "delete-slice",
    text: `select deleted, wait_ms as "waitMs" from sluice.delete_slice($1)`,
    values: [most],
  });
  return rows[0]!;
}

/** Deletes backfills that have ended and have no run any more. */
export async function deleteEmptyBackfills(db: Db): Promise<void> {
  await db.query(
    `delete from sluice.backfill b
      where b.ended_at is not null and not exists (select from sluice.dag_run r where r.backfill_id = b.id)`,
  );
}

/** Days for which dropped runs and sizes of tables are told of. */
const TOLD_DAYS = 90;

/** Small tables that grow by the day. */
export async function deleteOldDays(db: Db): Promise<void> {
  await db.query("delete from sluice.dropped_runs where day < sluice.today() - $1::int", [TOLD_DAYS]);
  await db.query("delete from sluice.table_size where day < sluice.today() - $1::int", [TOLD_DAYS]);
}
