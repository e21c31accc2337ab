import { advance } from "#lib/db/backfill/advance.ts";
import { retried } from "#lib/db/tx.ts";
import { admitStarted } from "../admit-started.ts";
import type { EngineDeps } from "../deps.ts";
import { type Effects, effects } from "../effects.ts";

/**
 * Starts a batch of what the backfill's own limit leaves room for, and ends the backfill when all of its runs have
 * ended. What has room for more is among the effects: it, or the next backfill where the DAG allows one run at a time. Calls at
 * the same time share a pass.
 */
export function advanceBackfill(deps: EngineDeps, backfillId: string): Promise<Effects> {
  return deps.coalesce(`backfill ${backfillId}`, async () => {
    const { started, more, yieldsTo, nextBackfill } = await retried(() => advance(deps.pool, backfillId));
    return effects({
      changedRuns: started,
      backfills: [...(more ? [backfillId] : []), ...(nextBackfill === null ? [] : [nextBackfill])],
      dagsWithRoom: yieldsTo === null ? [] : [yieldsTo],
      wantsAdmission: await admitStarted(deps, started),
    });
  });
}
