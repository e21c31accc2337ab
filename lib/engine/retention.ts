import {
  classesToRotate,
  deleteOldDays,
  dropGeneration,
  enterGenerations,
  listGenerations,
  markExpired,
  openGeneration,
  unmarkRevived,
} from "#lib/db/generations.ts";
import { inTx, retried } from "#lib/db/tx.ts";
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

/** Drops the generations whose runs have all been kept long enough since they ended. */
export async function dropExpired(deps: EngineDeps): Promise<void> {
  // Nothing goes into a closed generation any more, also when who closed it died over it.
  await enterGenerations(deps.pool);
  await markExpired(deps.pool);
  const expired = (await listGenerations(deps.pool)).filter(({ droppingAt }) => droppingAt !== null);
  for (const generation of expired) {
    if (await inTx(deps.pool, (tx) => unmarkRevived(tx, generation))) continue;
    if (!(await dropGeneration(deps.pool, generation))) return;
    const { number, keepDays, firstRun, endRun } = generation;
    deps.log.info({ generation: number, keepDays, firstRun, endRun }, "a generation of runs was dropped");
  }
  await deleteOldDays(deps.pool);
}
