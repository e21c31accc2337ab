import {
  classesToRotate,
  deleteOldDays,
  dropGeneration,
  enterGenerations,
  listGenerations,
  markEmpty,
  openGeneration,
} from "#lib/db/generations.ts";
import { deleteEmptyBackfills, deleteRuns, deleteTasks } from "#lib/db/retention.ts";
import { retried } from "#lib/db/tx.ts";
import { RETENTIONS } from "#lib/domain/model/retention.ts";
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

/** Rows of one transaction of retention. A run has up to four beside its task instances: itself, progress, key and deletion. */
const ROWS_AT_ONCE = 10_000;
const RUNS_AT_ONCE = ROWS_AT_ONCE / 4;

/** Deletes the runs that have been kept long enough since they ended, in small transactions. */
export async function deleteExpired(deps: EngineDeps): Promise<void> {
  for (const keepDays of Object.values(RETENTIONS)) {
    if (keepDays === RETENTIONS.forever) continue;
    while ((await retried(() => deleteRuns(deps.pool, keepDays, RUNS_AT_ONCE))) === RUNS_AT_ONCE);
  }
  while ((await retried(() => deleteTasks(deps.pool, ROWS_AT_ONCE))) > 0);
  await deleteEmptyBackfills(deps.pool);
  await deleteOldDays(deps.pool);
}

/** Drops the history of generations in which no run is left. */
export async function dropEmpty(deps: EngineDeps): Promise<void> {
  // Nothing goes into a closed generation any more, also when who closed it died over it.
  await enterGenerations(deps.pool);
  await markEmpty(deps.pool);
  const empty = (await listGenerations(deps.pool)).filter(({ droppingAt }) => droppingAt !== null);
  for (const generation of empty) {
    if (!(await dropGeneration(deps.pool, generation))) return;
    const { number, keepDays, firstRun, endRun } = generation;
    deps.log.info(
      { generation: number, keepDays, firstRun, endRun },
      "the history of a generation of runs was dropped",
    );
  }
}
