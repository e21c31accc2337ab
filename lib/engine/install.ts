import type pg from "pg";
import { keepSessionSettings } from "#lib/db/session-settings.ts";
import { migrate } from "#lib/db/migrate.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";

/**
 * Brings the database to this release: our migrations, pg-boss's own, and the settings of the role's
 * sessions. Returns the names of our migrations that were applied.
 */
export async function install(pool: pg.Pool): Promise<string[]> {
  const applied = await migrate(pool);
  await createJobQueue(pool, () => undefined).install();
  await keepSessionSettings(pool);
  return applied;
}
