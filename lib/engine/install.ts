import type pg from "pg";
import { migrate } from "#lib/db/migrate.ts";
import { createTaskQueue } from "#lib/queue/task-queue.ts";

/** Brings the database to this release: our migrations and pg-boss's own. Answers the names of ours it applied. */
export async function install(pool: pg.Pool): Promise<string[]> {
  const applied = await migrate(pool);
  await createTaskQueue(pool, () => undefined).install();
  return applied;
}
