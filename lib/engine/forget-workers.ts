import { deleteGoneWorkers, listWorkerIds } from "#lib/db/workers.ts";
import { retried } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";

/** So long a worker that has gone can still be found by people who ask what became of it. */
export const GONE_MS = 3_600_000;

/**
 * Deletes the rows of anonymous workers that have gone, and the bells of all workers that have no row: each start without
 * a name makes one of both.
 */
export async function forgetWorkers(deps: EngineDeps): Promise<void> {
  while ((await retried(() => deleteGoneWorkers(deps.pool, GONE_MS))) > 0);
  await deps.queue.bells.removeOrphans(() => listWorkerIds(deps.pool));
}
