import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { AdmissionLead } from "#lib/engine/lead-admission.ts";
import type { DutyMetrics } from "#lib/obs/duty-metrics.ts";
import type { Duties } from "#lib/obs/duties.ts";
import { everyService } from "#lib/obs/every.ts";
import type { Service } from "../lifecycle.ts";
import type { ProtocolGuard } from "../protocol-guard.ts";

/** After a pass the leader rests as long as the pass took, at most so long: it never takes all of a processor. */
const MAX_REST_MS = 50;

/** The net: whatever was asked for and not done is done by then, and whoever leads is known to be alive. */
const ADMIT_EVERY_MS = 1_000;

/** Passes of admission: at once when one is asked for, and regularly. Only the scheduler that leads does any. */
export function admissionService(
  deps: EngineDeps,
  lead: AdmissionLead,
  duties: Duties,
  metrics: DutyMetrics,
  protocol: ProtocolGuard,
): Service & { wake(): void } {
  let isWanted = false;
  let passing: Promise<void> | undefined;
  const stopping = new AbortController();

  const passes = async (): Promise<void> => {
    while (isWanted && !stopping.signal.aborted) {
      isWanted = false;
      const began = performance.now();
      await lead.requested(deps);
      const restMs = Math.min(MAX_REST_MS, performance.now() - began);
      await delay(restMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    passing = undefined;
  };
  const wake = (): void => {
    isWanted = true;
    passing ??= passes();
  };

  const net = everyService({
    name: "admit",
    everyMs: ADMIT_EVERY_MS,
    duties,
    metrics,
    log: deps.log,
    run: () => protocol.guarding("admit", () => lead.turn(deps)),
  });
  return {
    name: net.name,
    wake,
    start: () => net.start(),
    async stop(reason) {
      stopping.abort();
      await passing;
      await net.stop(reason);
      await lead.leave(deps).catch((error: unknown) => {
        deps.log.warn({ error: messageOf(error) }, "could not leave the lead of admission; it ends with its lease");
      });
    },
  };
}
