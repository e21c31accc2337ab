import { createLedger, type Ledger } from "./admission-ledger.ts";
import type { Demand, Workload } from "./demand.ts";
import type { Priority } from "./model/task.ts";
import type { WaitReason } from "./wait-reason.ts";

/**
 * Who goes next. Admission reads what is ready and what is taken, this decides, one guarded UPDATE applies it:
 * no limit is ever exceeded, because the decision is made and written under one lock.
 */

export type Admission = {
  /** Task instances to admit, in the order in which they go. */
  admitted: string[];
  /** Which worker must take it, for those that ask for processors or memory. */
  assigned: Map<string, string>;
  /** Why what is left of a workload waits. */
  waits: Map<number, WaitReason>;
};

const RANK: Record<Priority, number> = { high: 2, medium: 1, low: 0 };

/** A workload that got nothing for so long counts as one priority higher, again and again: nobody starves. */
const AGEING_MS = 600_000;

type Entry = { workload: Workload; level: number; next: number };

/**
 * The highest priority first; within it the DAG that occupies least, so that ten thousand ready tasks of one DAG do
 * not keep another's first task waiting; within a DAG the oldest task. What has waited for long for more than is
 * free at once has the next of it kept free: a large task is not overtaken by small ones for ever.
 */
export function decideAdmission(demand: Demand): Admission {
  const ledger = createLedger(demand);
  const waits = new Map<number, WaitReason>();
  const assigned = new Map<string, string>();
  const admitted: string[] = [];
  let open: Entry[] = demand.workloads.map((workload) => ({
    workload,
    level: RANK[workload.priority] + Math.floor(workload.starvedMs / AGEING_MS),
    next: 0,
  }));
  while (open.length > 0) {
    const best = open.reduce((a, b) => (goesBefore(b, a, ledger) ? b : a));
    const reason = ledger.blocks(best.workload);
    const id = best.workload.candidates[best.next];
    if (reason === undefined && id !== undefined) {
      const workerId = ledger.take(best.workload);
      if (workerId !== undefined) assigned.set(id, workerId);
      admitted.push(id);
      best.next++;
      continue;
    }
    const left = best.next < best.workload.candidates.length || best.workload.hasMore;
    if (left) waits.set(best.workload.id, reason ?? ledger.whenNoCandidate(best.workload));
    if (left && best.workload.starvedMs >= AGEING_MS) ledger.reserve(best.workload);
    open = open.filter((entry) => entry !== best);
  }
  return { admitted, assigned, waits };
}

function goesBefore(a: Entry, b: Entry, ledger: Ledger): boolean {
  if (a.level !== b.level) return a.level > b.level;
  const share = ledger.share(a.workload) - ledger.share(b.workload);
  if (share !== 0) return share < 0;
  if (a.workload.starvedMs !== b.workload.starvedMs) return a.workload.starvedMs > b.workload.starvedMs;
  return a.workload.id < b.workload.id;
}
