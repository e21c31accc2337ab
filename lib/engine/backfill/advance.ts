import { advance } from "#lib/db/backfill/advance.ts";
import { retried } from "#lib/db/tx.ts";
import { admitStarted } from "../admit-started.ts";
import type { EngineDeps } from "../deps.ts";
import { type Effects, effects } from "../effects.ts";

/**
 * Starts a batch of what the backfill's own limit leaves room for, and ends the backfill when all of its runs have
 * ended; one with room for more is among the effects. Calls at the same time share a pass.
 */
export function advanceBackfill(deps: EngineDeps, backfillId: string): Promise<Effects> {
  return deps.coalesce(`backfill ${backfillId}`, async () => {
    const { started, more, yieldsTo } = await retried(() => advance(deps.pool, backfillId));
    return effects({
      changedRuns: started,
      backfills: more ? [backfillId] : [],
      dagsWithRoom: yieldsTo === null ? [] : [yieldsTo],
      wantsAdmission: await admitStarted(deps, started),
    });
  });
}
