import { randomUUID } from "node:crypto";
import os from "node:os";
import { sayGone, sayPresent, type SchedulerDuty } from "#lib/db/schedulers.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { DutyMetrics } from "#lib/obs/duty-metrics.ts";
import { everyService } from "#lib/obs/every.ts";
import type { ProtocolGuard } from "../protocol-guard.ts";
import type { Duties } from "#lib/obs/duties.ts";
import type { Service } from "../lifecycle.ts";
import { releaseVersion } from "../release.ts";

const PRESENT_EVERY_MS = 10_000;

/** Tells the database that this scheduler lives and how its duties are, and hears what is in quarantine. */
export function presenceService(
  deps: EngineDeps,
  duties: Duties,
  metrics: DutyMetrics,
  protocol: ProtocolGuard,
  onQuarantine: (counts: Record<string, number>) => void,
): Service {
  const id = randomUUID();
  let version: string | undefined;
  const run = async (): Promise<void> => {
    version ??= await releaseVersion();
    const identity = { id, host: os.hostname(), pid: process.pid, version };
    const report: SchedulerDuty[] = duties.report();
    const present = await sayPresent(deps.pool, identity, report);
    protocol.check(present.protocol);
    onQuarantine(present.quarantined);
  };
  const service = everyService({ name: "presence", everyMs: PRESENT_EVERY_MS, duties, metrics, log: deps.log, run });
  return {
    name: service.name,
    start: () => service.start(),
    async stop(reason) {
      await service.stop(reason);
      await sayGone(deps.pool, id).catch((error: unknown) => {
        deps.log.warn({ error: messageOf(error) }, "could not take leave of the database");
      });
    },
  };
}
