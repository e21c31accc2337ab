import { type Claimed, claimQueued, isActive, type WorkerRef } from "#lib/db/claims.ts";
import type { Tx } from "#lib/db/pool.ts";
import { inTx } from "#lib/db/tx.ts";
import { assignedTo } from "#lib/db/unadmit.ts";
import { type Lane, laneName, ownQueue, type TaskQueue } from "#lib/queue/task-queue.ts";
import type { EngineDeps } from "./deps.ts";
import { LEASE_MS } from "./lease.ts";

/** What was claimed, and how many deliveries that took: some may be of attempts that are nobody's to take any more. */
export type Claims = { claimed: Claimed[]; delivered: number };

const NOTHING: Claims = { claimed: [], delivered: 0 };

/** Rolls the deliveries back: they belong to a worker that may still claim. */
class NotActive extends Error {}

/**
 * Takes attempts off a lane for this worker, at most one for each of `tokens`: delivery, claim and lease are one
 * transaction. After an error it is not known whether they were taken: see `handBackUnheard`.
 */
export async function claim(
  deps: EngineDeps,
  worker: WorkerRef,
  lane: Lane,
  tokens: readonly string[],
): Promise<Claims> {
  try {
    const claims = await inTx(deps.pool, async (tx) => {
      const { deliveries, isOff } = await take(deps, tx, worker, lane, tokens.length);
      if (deliveries.length === 0) return NOTHING;
      const attempts = deliveries.map((delivery, index) => ({ ...delivery, token: tokens[index]! }));
      const [taken] = await Promise.all([claimQueued(tx, worker, attempts, LEASE_MS), isOff]);
      if (taken.length === 0 && !(await isActive(tx, worker))) throw new NotActive();
      return { claimed: taken, delivered: deliveries.length };
    });
    deps.notifier.announce(
      "sluice_runs",
      claims.claimed.map((attempt) => attempt.runId),
    );
    return claims;
  } catch (error) {
    if (error instanceof NotActive) return NOTHING;
    throw error;
  }
}

/** Attempts that only this worker may take are not in a queue that others fetch from. */
async function take(
  { queue }: EngineDeps,
  tx: Tx,
  worker: WorkerRef,
  lane: Lane,
  max: number,
): ReturnType<TaskQueue["take"]> {
  if (lane.queue !== ownQueue(worker.id)) return queue.take(tx, laneName(lane), max);
  return { deliveries: await assignedTo(tx, worker.id, lane.slotClass, max), isOff: Promise.resolve() };
}
