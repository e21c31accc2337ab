import type { Priority } from "./model/task.ts";
import type { WaitReason } from "./wait-reason.ts";

/**
 * Who goes next. Admission reads what is ready and what is taken, this decides, one guarded UPDATE applies it:
 * no limit is ever exceeded, because the decision is made and written under one lock.
 */

/** Tasks between which nothing but age decides, with all that limits them. Counts are of live attempts. */
export type Workload = {
  id: number;
  dagId: string;
  /** Queue and slot class, as `queue.class`. */
  lane: string;
  /** Attempts the lane's live workers have room for; null when no live worker serves it. */
  laneFree: number | null;
  laneSlots: number;
  priority: Priority;
  pool: { name: string; size: number | null; taken: number } | null;
  /** Pool slots one task takes. */
  slots: number;
  dag: { limit: number | null; taken: number };
  runLimit: number | null;
  /** Milliseconds since something of this workload was last admitted, or since its oldest task became ready. */
  starvedMs: number;
  /** Oldest first; as many as could be admitted at most. With a run limit, none of a run that has reached it. */
  candidates: readonly string[];
  /** Another task of it is ready beside the candidates. */
  hasMore: boolean;
};

export type Admission = {
  /** Task instances to admit, in the order in which they go. */
  admitted: string[];
  /** Why what is left of a workload waits. */
  waits: Map<number, WaitReason>;
};

const RANK: Record<Priority, number> = { high: 2, medium: 1, low: 0 };

/** A workload that got nothing for so long counts as one priority higher, again and again: nobody starves. */
const AGEING_MS = 600_000;

type Entry = { workload: Workload; level: number; next: number };

/**
 * The highest priority first; within it the DAG that occupies least, so that ten thousand ready tasks of one DAG do
 * not keep another's first task waiting; within a DAG the oldest task.
 */
export function decideAdmission(workloads: readonly Workload[]): Admission {
  const ledger = createLedger(workloads);
  const waits = new Map<number, WaitReason>();
  const admitted: string[] = [];
  let open: Entry[] = workloads.map((workload) => ({
    workload,
    level: RANK[workload.priority] + Math.floor(workload.starvedMs / AGEING_MS),
    next: 0,
  }));
  while (open.length > 0) {
    const best = open.reduce((a, b) => (goesBefore(b, a, ledger) ? b : a));
    const reason = ledger.blocks(best.workload);
    const id = best.workload.candidates[best.next];
    if (reason === undefined && id !== undefined) {
      ledger.take(best.workload);
      admitted.push(id);
      best.next++;
      continue;
    }
    const left = best.next < best.workload.candidates.length || best.workload.hasMore;
    if (left) waits.set(best.workload.id, reason ?? ledger.whenNoCandidate(best.workload));
    open = open.filter((entry) => entry !== best);
  }
  return { admitted, waits };
}

function goesBefore(a: Entry, b: Entry, ledger: Ledger): boolean {
  if (a.level !== b.level) return a.level > b.level;
  const share = ledger.share(a.workload) - ledger.share(b.workload);
  if (share !== 0) return share < 0;
  if (a.workload.starvedMs !== b.workload.starvedMs) return a.workload.starvedMs > b.workload.starvedMs;
  return a.workload.id < b.workload.id;
}

type Ledger = {
  share(workload: Workload): number;
  blocks(workload: Workload): WaitReason | undefined;
  take(workload: Workload): void;
  whenNoCandidate(workload: Workload): WaitReason;
};

/** What is taken, counting what this pass has admitted already. */
function createLedger(workloads: readonly Workload[]): Ledger {
  const dags = new Map(workloads.map((workload) => [workload.dagId, workload.dag.taken]));
  const lanes = new Map(workloads.map((workload) => [workload.lane, workload.laneFree]));
  const pools = new Map(workloads.flatMap(({ pool }) => (pool === null ? [] : [[pool.name, pool.taken] as const])));

  const poolBlocks = ({ pool, slots }: Workload): WaitReason | undefined => {
    if (pool === null) return undefined;
    if (pool.size === null) return { code: "POOL_MISSING", pool: pool.name };
    const taken = pools.get(pool.name)!;
    if (taken + slots <= pool.size) return undefined;
    return { code: "POOL_FULL", pool: pool.name, taken, size: pool.size, wanted: slots };
  };

  return {
    share: (workload) => dags.get(workload.dagId)!,
    blocks(workload) {
      const free = lanes.get(workload.lane)!;
      if (free === null) return { code: "NO_WORKER", lane: workload.lane };
      const { limit } = workload.dag;
      const taken = dags.get(workload.dagId)!;
      if (limit !== null && taken >= limit) return { code: "DAG_LIMIT", dagId: workload.dagId, taken, limit };
      const pool = poolBlocks(workload);
      if (pool !== undefined) return pool;
      return free > 0 ? undefined : { code: "SLOTS_TAKEN", lane: workload.lane, slots: workload.laneSlots };
    },
    take(workload) {
      dags.set(workload.dagId, dags.get(workload.dagId)! + 1);
      lanes.set(workload.lane, lanes.get(workload.lane)! - 1);
      if (workload.pool !== null) pools.set(workload.pool.name, pools.get(workload.pool.name)! + workload.slots);
    },
    whenNoCandidate: ({ runLimit, lane, laneSlots }) =>
      runLimit === null ? { code: "SLOTS_TAKEN", lane, slots: laneSlots } : { code: "RUN_LIMIT", limit: runLimit },
  };
}
