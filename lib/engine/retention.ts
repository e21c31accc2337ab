import { blockerText, dropHistory } from "#lib/db/drop-history.ts";
import {
  classesToRotate,
  enterGenerations,
  keptGenerations,
  listGenerations,
  markEmpty,
  openGeneration,
} from "#lib/db/generations.ts";
import { deleteEmptyBackfills, deleteOldDays, deleteSlice } from "#lib/db/retention.ts";
import { retried } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";

/** Has runs go into new generations where the ones they go into are old or full. */
export async function rotateGenerations(deps: EngineDeps): Promise<void> {
  for (const keepDays of await classesToRotate(deps.pool)) {
    const number = await retried(() => openGeneration(deps.pool, keepDays));
    deps.log.info({ keepDays, generation: number }, "a generation of runs is open");
  }
  // Also what an earlier process has opened and did not come to.
  await enterGenerations(deps.pool);
}

/** Rows of one transaction of retention: so few that a commit behind it waits some milliseconds. */
const SLICE_ROWS = 2_000;

/**
 * Deletes a slice of the runs that have been kept long enough since they ended. Returns in how many milliseconds the next slice is
 * due; nothing when none is left to delete.
 */
export async function deleteExpired(deps: EngineDeps): Promise<number | undefined> {
  const { waitMs } = await retried(() => deleteSlice(deps.pool, SLICE_ROWS));
  return waitMs ?? undefined;
}

/**
 * Drops the history of generations in which no run is left; deletes backfills that have none any
 * more, and old days of small tables.
 */
export async function deleteLeftBehind(deps: EngineDeps): Promise<void> {
  await dropEmpty(deps);
  await deleteEmptyBackfills(deps.pool);
  await deleteOldDays(deps.pool);
}

/** Drops the history of generations in which no run is left, and says what keeps that of others whose time is over. */
export async function dropEmpty(deps: EngineDeps): Promise<void> {
  // Nothing goes into a closed generation any more, also when the process that closed it died over it.
  await enterGenerations(deps.pool);
  await markEmpty(deps.pool);
  for (const { number, runs, more } of await keptGenerations(deps.pool))
    deps.log.info(
      { generation: number, runs, more },
      "the history of old runs is kept: some are open or not deleted yet",
    );
  const empty = (await listGenerations(deps.pool)).filter(({ droppingAt }) => droppingAt !== null);
  for (const generation of empty) {
    const { number, keepDays, firstRun, endRun } = generation;
    const drop = await dropHistory(deps, generation);
    if (drop.outcome === "taken") return;
    if (drop.outcome === "blocked") {
      const by = drop.by.map(blockerText);
      deps.log.warn({ generation: number, by }, "old history cannot be dropped before these transactions end");
      return;
    }
    deps.log.info(
      { generation: number, keepDays, firstRun, endRun },
      "the history of a generation of runs was dropped",
    );
  }
}
