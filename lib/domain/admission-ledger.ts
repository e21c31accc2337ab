import { type Demand, isParticular, type WorkerRoom, type Workload } from "./demand.ts";
import type { ResourceAmount } from "./model/resources.ts";
import { isOffered } from "./needs.ts";
import { laneParts, type WaitReason } from "./wait-reason.ts";

export type Ledger = {
  /** Tasks that the workload's DAG has going. */
  share(workload: Workload): number;
  /** Why no task of the workload can be admitted now. */
  blocks(workload: Workload): WaitReason | undefined;
  /** Counts one more task of it; answers the worker that must take it, if not any will do. */
  take(workload: Workload): string | undefined;
  /** Keeps what would be the next to fit for it free for the rest of the pass. */
  reserve(workload: Workload): void;
  whenNoCandidate(workload: Workload): WaitReason;
};

type Room = { worker: WorkerRoom; slots: Map<string, number>; free: ResourceAmount };

const holds = (size: ResourceAmount, wanted: ResourceAmount): boolean =>
  size.cpu >= wanted.cpu && size.memory >= wanted.memory;

/** What is taken, counting what this pass has admitted already. */
export function createLedger({ workloads, workers, system }: Demand): Ledger {
  const dags = new Map(workloads.map((workload) => [workload.dagId, workload.dag.taken]));
  const lanes = new Map(workloads.map((workload) => [workload.lane, workload.laneFree]));
  const pools = new Map(workloads.flatMap(({ pool }) => (pool === null ? [] : [[pool.name, pool.taken] as const])));
  const rooms = workers.map((worker): Room => ({
    worker,
    slots: new Map(Object.entries(worker.slots)),
    free: { ...worker.free },
  }));
  let total = system.taken;
  /** Pools whose free slots wait for a large task. */
  const kept = new Set<string>();

  const poolBlocks = ({ pool, slots }: Workload): WaitReason | undefined => {
    if (pool === null) return undefined;
    if (pool.size === null) return { code: "POOL_MISSING", pool: pool.name };
    const taken = pools.get(pool.name)!;
    const fits = taken + slots <= pool.size;
    if (fits && !kept.has(pool.name)) return undefined;
    return {
      code: "POOL_FULL",
      pool: pool.name,
      taken,
      size: pool.size,
      wanted: slots,
      ...(fits ? { kept: true } : {}),
    };
  };

  const ofQueue = ({ lane }: Workload): Room[] =>
    rooms.filter(({ worker }) => worker.queues.includes(laneParts(lane).queue));

  const serving = (workload: Workload): Room[] =>
    ofQueue(workload).filter(({ worker }) => isOffered(workload.needs, worker.offers));

  /** The worker of which least is left, so that large holes stay for large tasks. */
  const fit = (workload: Workload): Room | undefined => {
    const { slotClass } = laneParts(workload.lane);
    const fitting = serving(workload).filter(
      (room) => (room.slots.get(slotClass) ?? 0) > 0 && holds(room.free, workload.asks),
    );
    const left = ({ free }: Room): number => free.memory + free.cpu;
    return fitting.toSorted((a, b) => left(a) - left(b) || (a.worker.id < b.worker.id ? -1 : 1))[0];
  };

  const workerBlock = (workload: Workload): WaitReason | undefined => {
    if (!isParticular(workload) || fit(workload) !== undefined) return undefined;
    const { lane, asks: wanted, needs } = workload;
    const sizes = serving(workload).map(({ worker }) => worker.size);
    if (sizes.length === 0) {
      const versions = [...new Set(ofQueue(workload).map(({ worker }) => worker.version))].toSorted();
      return { code: "NO_WORKER_OFFERS", lane, needs, versions };
    }
    if (sizes.some((size) => holds(size, wanted)))
      return { code: "RESOURCES_TAKEN", lane, wanted, ...(needs.length > 0 ? { needs } : {}) };
    const most = (of: keyof ResourceAmount): number => Math.max(0, ...sizes.map((size) => size[of]));
    return { code: "NO_WORKER_LARGE_ENOUGH", lane, wanted, largest: { cpu: most("cpu"), memory: most("memory") } };
  };

  const laneBlocks = (workload: Workload): WaitReason | undefined => {
    const free = lanes.get(workload.lane)!;
    if (free === null) return { code: "NO_WORKER", lane: workload.lane };
    return free > 0 ? undefined : { code: "SLOTS_TAKEN", lane: workload.lane, slots: workload.laneSlots };
  };

  const limitBlocks = ({ dagId, dag: { limit } }: Workload): WaitReason | undefined => {
    const taken = dags.get(dagId)!;
    if (limit !== null && taken >= limit) return { code: "DAG_LIMIT", dagId, taken, limit };
    if (system.limit !== null && total >= system.limit) {
      return { code: "SYSTEM_LIMIT", taken: total, limit: system.limit };
    }
    return undefined;
  };

  return {
    share: (workload) => dags.get(workload.dagId)!,
    blocks: (workload) =>
      // A lane that nobody serves is the reason, whatever else there is too little of.
      (workload.laneFree === null ? laneBlocks(workload) : undefined) ??
      limitBlocks(workload) ??
      poolBlocks(workload) ??
      workerBlock(workload) ??
      laneBlocks(workload),
    take(workload) {
      total++;
      dags.set(workload.dagId, dags.get(workload.dagId)! + 1);
      lanes.set(workload.lane, lanes.get(workload.lane)! - 1);
      if (workload.pool !== null) pools.set(workload.pool.name, pools.get(workload.pool.name)! + workload.slots);
      if (!isParticular(workload)) return undefined;
      const room = fit(workload)!;
      const { slotClass } = laneParts(workload.lane);
      room.slots.set(slotClass, room.slots.get(slotClass)! - 1);
      room.free = { cpu: room.free.cpu - workload.asks.cpu, memory: room.free.memory - workload.asks.memory };
      return room.worker.id;
    },
    reserve(workload) {
      const blocked = poolBlocks(workload);
      if (blocked?.code === "POOL_FULL") kept.add(blocked.pool);
      if (workerBlock(workload)?.code !== "RESOURCES_TAKEN") return;
      // The one on which most is free gets there first.
      const [room] = serving(workload)
        .filter(({ worker }) => holds(worker.size, workload.asks))
        .toSorted((a, b) => b.free.memory - a.free.memory || b.free.cpu - a.free.cpu);
      if (room) room.free = { cpu: 0, memory: 0 };
    },
    whenNoCandidate: ({ runLimit, lane, laneSlots }) =>
      runLimit === null ? { code: "SLOTS_TAKEN", lane, slots: laneSlots } : { code: "RUN_LIMIT", limit: runLimit },
  };
}
