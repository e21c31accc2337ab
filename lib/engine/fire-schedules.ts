import { messageOf } from "#lib/domain/errors.ts";
import {
  type FiredRun,
  fireSchedules,
  type FiringOrder,
  lockTheseSchedules,
  readDueSchedules,
} from "#lib/db/schedules.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { firingOrders } from "./firing-orders.ts";
import { isolating, quarantine } from "./quarantine.ts";
import { startQueuedRunsWithoutWaiting } from "./start-queued-runs.ts";

/** So many schedules are looked at in one statement. */
const SCHEDULES_AT_ONCE = 1_000;

/** What somebody else has at hand is looked at again after this, should they die over it. */
const HELD_MS = 250;

/**
 * Starts the runs that are due by the database's clock, and decides about those that were missed. Any number of
 * schedulers may do so at once. Answers in how many milliseconds there is something to do again; undefined when nothing is
 * scheduled.
 */
export async function fireDueSchedules(deps: EngineDeps): Promise<number | undefined> {
  for (;;) {
    const { now, due, nextInMs } = await readDueSchedules(deps.pool, SCHEDULES_AT_ONCE);
    if (due.length === 0) return nextInMs;
    const { orders, broken } = firingOrders(due, now);
    for (const { id, error } of broken) await quarantine(deps, "fire", id, error);
    const made: FiredRun[] = [];
    let movedSome = false;
    const fire = async (some: readonly FiringOrder[]): Promise<readonly string[]> => {
      const { moved, runs } = await inOneStatement(deps, some);
      movedSome ||= moved.length > 0;
      made.push(...runs);
      return moved;
    };
    await isolating(deps, "fire", orders, ({ schedule }) => schedule.id, fire);
    if (made.length > 0) await begin(deps, made);
    if (!movedSome && broken.length === 0) return HELD_MS;
  }
}

/**
 * In no transaction around it: a process that stops here holds nothing. When it fails, that is heard of before its locks are gone, so
 * they are waited for: who tries parts of it must not find them.
 */
async function inOneStatement(deps: EngineDeps, orders: readonly FiringOrder[]): ReturnType<typeof fireSchedules> {
  try {
    return await retried(() => fireSchedules(deps.pool, orders, "scheduler"));
  } catch (error) {
    const ids = orders.map(({ schedule }) => schedule.id);
    await inTx(deps.pool, (tx) => lockTheseSchedules(tx, ids)).catch(() => undefined);
    throw error;
  }
}

/**
 * What was made is started as far as its DAGs' limits go, and handed to the workers. Firing waits for nobody over it: what
 * is left, because somebody has the DAG at hand or anything fails, a scheduler's next look at queued runs starts.
 */
async function begin(deps: EngineDeps, runs: readonly FiredRun[]): Promise<void> {
  const dagIds = [...new Set(runs.map(({ dagId }) => dagId))].toSorted();
  try {
    await followUp(deps, effects({ changedRuns: runs.map(({ runId }) => runId) }));
    await followUp(deps, await startQueuedRunsWithoutWaiting(deps, dagIds));
  } catch (error) {
    deps.log.warn({ error: messageOf(error) }, "runs that were due are queued but not started; a scheduler will retry");
  }
}
