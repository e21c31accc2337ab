import type { Db } from "./pool.ts";

/** True when the database holds our tables. Throws when it cannot be reached. */
export async function isMigrated(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ ok: boolean }>("select to_regclass('sluice.task_instance') is not null as ok");
  return rows[0]?.ok ?? false;
}
