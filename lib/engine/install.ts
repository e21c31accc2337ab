import type pg from "pg";
import { migrate } from "#lib/db/migrate.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";

/** Brings the database to this release: our migrations and pg-boss's own. Answers the names of ours it applied. */
export async function install(pool: pg.Pool): Promise<string[]> {
  const applied = await migrate(pool);
  await createJobQueue(pool, () => undefined).install();
  return applied;
}
