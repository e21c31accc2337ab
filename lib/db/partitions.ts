import type { Db } from "./pool.ts";

/** Days of history partitions that exist ahead of now: a scheduler may be down that long. */
const DAYS_AHEAD = 7;

export async function ensurePartitions(db: Db): Promise<void> {
  await db.query("select sluice.ensure_partitions($1)", [DAYS_AHEAD]);
}
