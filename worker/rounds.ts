import { ping } from "#lib/db/pool.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Duties } from "#lib/obs/duties.ts";
import type { DutyMetrics } from "#lib/obs/duty-metrics.ts";
import { everyService } from "#lib/obs/every.ts";
import { boundedRound, requireHeard, throughThreadPool } from "#lib/obs/rounds.ts";
import type { Service } from "./lifecycle.ts";

const ROUND_MS = 2_000;
const DATABASE_ROUND_MS = 5_000;

/**
 * Rounds through what worker and scheduler both need: the thread pool and the two addresses of the database.
 * `heardMsAgo` is the age of the connection that hears of work. Their ages are those of duties.
 */
export function commonRounds(
  deps: EngineDeps,
  { duties, metrics }: { duties: Duties; metrics: DutyMetrics },
  heardMsAgo: () => number,
): Service[] {
  const round = (name: string, everyMs: number, run: () => Promise<unknown>, isNeeded = false): Service =>
    everyService({ name, everyMs, isNeeded, duties, metrics, log: deps.log, run: boundedRound(run) });
  return [
    round("thread pool", ROUND_MS, () => throughThreadPool(), true),
    round("database", DATABASE_ROUND_MS, () => ping(deps.pool)),
    round("sessions", ROUND_MS, async () => requireHeard(heardMsAgo())),
  ];
}
