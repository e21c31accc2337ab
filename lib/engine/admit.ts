import { messageOf } from "#lib/domain/errors.ts";
import { decideAdmission } from "#lib/domain/admission.ts";
import { withHolders, type WaitReason } from "#lib/domain/wait-reason.ts";
import { admitReady, lockAdmission, readDemand, readyDue } from "#lib/db/admission.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { hasWaits, readOccupancy, replaceWaits } from "#lib/db/waits.ts";
import type { EngineDeps } from "./deps.ts";

/**
 * Hands ready task instances to the workers, as far as their slots go. Called by whoever made tasks ready or
 * freed a slot, after that commit; a process runs one pass and keeps at most one more waiting. A failed pass is
 * logged, not thrown; the scheduler's regular pass is the net.
 */
export async function admit(deps: EngineDeps): Promise<number> {
  return sharedPass(deps).catch(() => 0);
}

/** Makes what waits for its next attempt or look ready when its time has come, and hands it out. */
export async function admitDue(deps: EngineDeps): Promise<void> {
  const { moved } = await retried(() => readyDue(deps.pool));
  if (moved > 0) await admit(deps);
}

/**
 * A scheduler's regular look: whatever is due or was left behind is handed out. One statement while nothing is ready. Throws when
 * nothing can be handed out: there is no net under this one.
 */
export async function admitLeft(deps: EngineDeps): Promise<void> {
  const { isReady } = await retried(() => readyDue(deps.pool));
  if (isReady && decideAdmission(await readDemand(deps.pool)).admitted.length > 0) await sharedPass(deps);
}

/** Why what is ready still waits is written down; nothing is written while that stays as it is, and one statement asked while nothing is ready. */
export async function explainWaits(deps: EngineDeps): Promise<void> {
  if (!(await hasWaits(deps.pool))) return;
  await writeWaits(deps, decideAdmission(await readDemand(deps.pool)).waits);
}

/** Writes down why what is ready is not admitted: what admission would decide now, without deciding it. */
async function writeWaits(deps: EngineDeps, waits: ReadonlyMap<number, WaitReason>): Promise<void> {
  const occupancy = waits.size === 0 ? [] : await readOccupancy(deps.pool);
  const told = new Map([...waits].map(([id, reason]) => [id, withHolders(reason, occupancy)]));
  await retried(() => replaceWaits(deps.pool, told));
}

/** Calls of one process at the same time share a pass. */
function sharedPass(deps: EngineDeps): Promise<number> {
  return deps.coalesce("admission", () => pass(deps));
}

async function pass(deps: EngineDeps): Promise<number> {
  try {
    const admitted = await inTx(deps.pool, async (tx) => {
      // Sent together, and still two statements: the second one's snapshot is taken when the lock is held.
      const [, demand] = await Promise.all([lockAdmission(tx), readDemand(tx)]);
      const { admitted, assigned } = decideAdmission(demand);
      return admitted.length === 0 ? [] : await admitReady(tx, admitted, assigned);
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
    throw error;
  }
}
