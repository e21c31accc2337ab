import { isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { messageOf } from "#lib/domain/errors.ts";

/**
 * After an outage of the database every lease looks expired, although only the heartbeats could not arrive. So after one, and at
 * the start, nothing is swept until the database has answered `probe` for a full lease. To wait counts as done, but for one lease
 * only: a sweep that fails again without an outage that `probe` has seen, or a sweep done, in between does not.
 */
export function guardedSweep(options: {
  leaseMs: number;
  probe: () => Promise<unknown>;
  sweep: () => Promise<void>;
  nowMs?: () => number;
}): () => Promise<void> {
  const nowMs = options.nowMs ?? (() => performance.now());
  let healthySince = nowMs();
  let mayWait = true;
  let overdue: unknown;

  const wait = async (): Promise<void> => {
    try {
      await options.probe();
    } catch (error) {
      healthySince = nowMs();
      mayWait = true;
      overdue = undefined;
      throw error;
    }
    if (overdue !== undefined) throw new Error(`nothing is swept since it failed again: ${messageOf(overdue)}`);
  };

  return async () => {
    if (nowMs() - healthySince <= options.leaseMs) return wait();
    try {
      await options.sweep();
      mayWait = true;
      overdue = undefined;
    } catch (error) {
      if (isDatabaseUnreachable(error)) {
        healthySince = nowMs();
        overdue = mayWait ? undefined : error;
        mayWait = false;
      }
      throw error;
    }
  };
}
