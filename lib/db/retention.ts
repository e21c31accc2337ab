import type { Db } from "./pool.ts";

/** Deletes up to `most` runs of a class that have been kept long enough; returns how many. */
export async function deleteRuns(db: Db, keepDays: number, most: number): Promise<number> {
  const { rows } = await db.query<{ deleted: number }>({
    name: "delete-runs",
    text: "select sluice.delete_runs($1, $2) as deleted",
    values: [keepDays, most],
  });
  return rows[0]!.deleted;
}

/** Deletes up to `most` rows of what such runs have left, task instances above all; returns how many. */
export async function deleteTasks(db: Db, most: number): Promise<number> {
  const { rows } = await db.query<{ deleted: number }>({
    name: "delete-tasks",
    text: "select sluice.delete_tasks($1) as deleted",
    values: [most],
  });
  return rows[0]!.deleted;
}

/** Deletes backfills that have ended and have no run any more. */
export async function deleteEmptyBackfills(db: Db): Promise<void> {
  await db.query(
    `delete from sluice.backfill b
      where b.ended_at is not null and not exists (select from sluice.dag_run r where r.backfill_id = b.id)`,
  );
}
