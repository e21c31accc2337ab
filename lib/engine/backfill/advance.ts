import { advance } from "#lib/db/backfills.ts";
import { retried } from "#lib/db/tx.ts";
import { admit } from "../admit.ts";
import { coalescing } from "../coalesce.ts";
import type { EngineDeps } from "../deps.ts";

/**
 * Starts what the backfill's own limit leaves room for, and ends the backfill when all of its runs have ended. Called when
 * it was made, when one of its runs has ended, and when it goes on; calls at the same time share a pass.
 */
export const advanceBackfill = coalescing(async (deps: EngineDeps, backfillId: string): Promise<void> => {
  for (let more = true; more;) {
    const step = await retried(() => advance(deps.pool, backfillId));
    more = step.more;
    if (step.started.length === 0) return;
    deps.notifier.announce("sluice_runs", step.started);
    await admit(deps);
  }
});
