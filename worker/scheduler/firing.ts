import type { EngineDeps } from "#lib/engine/deps.ts";
import { fireDueSchedules } from "#lib/engine/fire-schedules.ts";
import { overdueSchedules } from "#lib/db/schedules.ts";
import { everyService } from "#lib/obs/every.ts";
import type { Duties } from "#lib/obs/duties.ts";
import type { DutyMetrics } from "#lib/obs/duty-metrics.ts";
import type { Service } from "../lifecycle.ts";
import type { ProtocolGuard } from "../protocol-guard.ts";

/** Without a word of a change and with nothing due: the net under lost announcements and a database clock that is set. */
const LOOK_EVERY_MS = 10_000;

/**
 * Sleeps until the next run is due and starts it. Woken when a schedule changes. A timer only decides when to ask; what is due
 * the database says.
 */
export function firingService(
  deps: EngineDeps,
  duties: Duties,
  metrics: DutyMetrics,
  protocol: ProtocolGuard,
): Service & { wake(): void } {
  return everyService({
    name: "fire schedules",
    everyMs: LOOK_EVERY_MS,
    duties,
    metrics,
    log: deps.log,
    run: async () => ({ againInMs: await protocol.guarding("fire schedules", () => fireDueSchedules(deps)) }),
  });
}

/** Two looks: what nobody has looked at by then, nobody looks at. */
const OVERDUE_MS = 2 * LOOK_EVERY_MS;

/** The alarm that does not depend on the firing loop: throws when a schedule has not been looked at when it should have been. */
export async function checkSchedulesOnTime(deps: EngineDeps): Promise<void> {
  const { count, oldest } = await overdueSchedules(deps.pool, OVERDUE_MS);
  if (oldest === undefined) return;
  const seconds = Math.round(oldest.lateMs / 1_000);
  const what = count === 1 ? "a schedule is" : `${count} schedules are`;
  throw new Error(`${what} overdue, the longest by ${seconds} s: that of the DAG "${oldest.dagId}"`);
}
