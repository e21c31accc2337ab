import { type ClaimLanes, type Claims, claimQueued, type WorkerRef } from "#lib/db/claims.ts";
import { retried } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { LEASE_MS } from "./lease.ts";

/**
 * Takes attempts for this worker from its lanes of one slot class, at most one for each of `tokens`: claim and lease are
 * one statement. After an error it is not known whether they were taken: see `handBackUnheard`.
 */
export async function claim(
  deps: EngineDeps,
  worker: WorkerRef,
  lanes: ClaimLanes,
  tokens: readonly string[],
): Promise<Claims> {
  const claims = await retried(() => claimQueued(deps.pool, worker, lanes, tokens, LEASE_MS));
  deps.notifier.announce(
    "sluice_runs",
    claims.claimed.map((attempt) => attempt.runId),
  );
  return claims;
}
