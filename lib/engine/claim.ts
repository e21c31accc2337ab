import { type Claimed, claimQueued, isActive, type WorkerRef } from "#lib/db/claims.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { LEASE_MS } from "./lease.ts";

/** Rolls the deliveries back: they belong to a worker that may still claim. */
class NotActive extends Error {}

/** Takes up to `max` attempts off a lane for this worker: delivery, claim and lease are one transaction. */
export async function claim(deps: EngineDeps, worker: WorkerRef, lane: string, max: number): Promise<Claimed[]> {
  try {
    const claimed = await inTx(deps.pool, async (tx) => {
      const ids = await deps.queue.take(tx, lane, max);
      if (ids.length === 0) return [];
      const attempts = ids.map((id) => ({ id, token: deps.newToken() }));
      const taken = await claimQueued(tx, worker, attempts, LEASE_MS);
      if (taken.length === 0 && !(await isActive(tx, worker))) throw new NotActive();
      return taken;
    });
    deps.notifier.announce(
      "sluice_runs",
      claimed.map((attempt) => attempt.runId),
    );
    return claimed;
  } catch (error) {
    if (error instanceof NotActive) return [];
    throw error;
  }
}
