import {
  deleteBundles,
  deleteLogLosses,
  deleteVersions,
  deleteVersionTasks,
  deleteWorkloads,
  haveEnded,
  openTransactions,
  versionsWithoutUse,
} from "#lib/db/unneeded.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { KEPT_VERSIONS } from "#lib/domain/model/retention.ts";
import type { EngineDeps } from "./deps.ts";

/** Rows that one transaction deletes. */
const ROWS_AT_ONCE = 10_000;
const VERSIONS_AT_ONCE = 1_000;
/** Few: a bundle may have 16 MiB, which Postgres keeps in rows of 2 kB. */
const BUNDLES_AT_ONCE = 50;

/**
 * Returns what a scheduler does from time to time to delete rows that nothing needs any more. A
 * version goes at the second call that finds it without use, when every transaction that was under
 * way at the first has ended: one of them may have been starting a run of it.
 */
export function createUnneededRows(deps: EngineDeps): () => Promise<void> {
  let versions: readonly string[] = [];
  let transactions: readonly string[] = [];

  const deleteOldVersions = async (): Promise<number> => {
    if (versions.length === 0 || !(await haveEnded(deps.pool, transactions))) return 0;
    while ((await retried(() => deleteVersionTasks(deps.pool, versions, ROWS_AT_ONCE))) === ROWS_AT_ONCE);
    const deleted = await retried(() => deleteVersions(deps.pool, versions));
    versions = [];
    return deleted;
  };

  return async () => {
    const deleted = await deleteOldVersions();
    if (versions.length === 0) {
      versions = await versionsWithoutUse(deps.pool, KEPT_VERSIONS, VERSIONS_AT_ONCE);
      // After them: whoever may have seen one of them as current is among these.
      transactions = await openTransactions(deps.pool);
    }
    const workloads = await all(ROWS_AT_ONCE, (most) => inTx(deps.pool, (tx) => deleteWorkloads(tx, most)));
    const bundles = await all(BUNDLES_AT_ONCE, (most) => inTx(deps.pool, (tx) => deleteBundles(tx, most)));
    await all(ROWS_AT_ONCE, (most) => retried(() => deleteLogLosses(deps.pool, most)));
    if (deleted + workloads + bundles > 0)
      deps.log.info({ versions: deleted, workloads, bundles }, "rows that nothing needs any more were deleted");
  };
}

/** Repeats a deletion of up to `most` rows while it finds as many; returns how many there were. */
async function all(most: number, remove: (most: number) => Promise<number>): Promise<number> {
  for (let total = 0; ;) {
    const deleted = await remove(most);
    total += deleted;
    if (deleted < most) return total;
  }
}
