import { messageOf } from "#lib/domain/errors.ts";
import { decideAdmission } from "#lib/domain/admission.ts";
import { admitReady, lockAdmission, readWorkloads, readyRetries, replaceWaits } from "#lib/db/admission.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { coalescing } from "./coalesce.ts";
import type { EngineDeps } from "./deps.ts";

/**
 * Hands ready task instances to the workers, as far as their slots go. Called by whoever made tasks ready or
 * freed a slot, after that commit; a process runs one pass and keeps at most one more waiting. A failed pass is
 * logged, not thrown; the scheduler's regular pass is the net.
 */
export async function admit(deps: EngineDeps): Promise<number> {
  return passes(deps, "all");
}

/** Makes what waits for its next attempt ready when its time has come, and hands out all that is ready. */
export async function admitDue(deps: EngineDeps): Promise<void> {
  await retried(() => readyRetries(deps.pool));
  await admit(deps);
}

/** Processes that have left waits behind, and so must take them back when there are none. */
const hasRecorded = new WeakMap<EngineDeps, boolean>();

/** Writes down why what is ready is not admitted: what admission would decide now, without deciding it. */
export async function recordWaits(deps: EngineDeps): Promise<void> {
  const { waits } = decideAdmission(await readWorkloads(deps.pool));
  // Nothing waits and nothing did: an idle system writes nothing. At the start another process may have left some.
  if (waits.size === 0 && hasRecorded.get(deps) === false) return;
  await retried(() => replaceWaits(deps.pool, waits));
  hasRecorded.set(deps, waits.size > 0);
}

const passes = coalescing((deps: EngineDeps) => pass(deps));

async function pass(deps: EngineDeps): Promise<number> {
  try {
    const admitted = await inTx(deps.pool, async (tx) => {
      await lockAdmission(tx);
      const { admitted } = decideAdmission(await readWorkloads(tx));
      const attempts = admitted.length === 0 ? [] : await admitReady(tx, admitted);
      const lanes = Map.groupBy(attempts, (attempt) => attempt.lane);
      for (const [lane, members] of lanes) {
        await deps.queue.enqueue(
          tx,
          lane,
          members.map((attempt) => attempt.attemptId),
        );
      }
      return attempts;
    });
    deps.notifier.announce(
      "sluice_tasks",
      admitted.map((attempt) => attempt.lane),
    );
    deps.notifier.announce(
      "sluice_runs",
      admitted.map((attempt) => attempt.runId),
    );
    return admitted.length;
  } catch (error) {
    deps.log.warn({ error: messageOf(error) }, "an admission pass failed; the next one covers it");
    return 0;
  }
}
