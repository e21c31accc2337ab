import {
  type Demand,
  isParticular,
  type LaneRoom,
  type ReadyClass,
  type ReadyRun,
  type TaskClass,
  type WorkerRoom,
} from "./demand.ts";
import type { ResourceAmount } from "./model/resources.ts";
import { isOffered } from "./needs.ts";
import { laneParts, type WaitReason } from "./wait-reason.ts";

/** The one judge of every limit: run, DAG, pool, system, lane and the resources of workers. */
export type Ledger = {
  /** Live attempts that the class's DAG has in the class's lane. */
  share(of: TaskClass): number;
  /** The lane has no room left, whatever waits in it; undefined while it has. */
  laneBlocks(lane: LaneRoom): WaitReason | undefined;
  /** Why no task of the class can ever be admitted, as things are set up now. */
  neverFits(of: TaskClass): WaitReason | undefined;
  /** Why no task of the class, which can fit, is admitted now, into this run where its DAG limits the tasks of one. */
  blocks(of: ReadyClass, run: ReadyRun | undefined): WaitReason | undefined;
  /** As `blocks`, of limits and pools alone: what a free slot would change nothing about. */
  limitBlocks(of: TaskClass, run: ReadyRun | undefined): WaitReason | undefined;
  /** Workers that could run a task of the class beside what runs there and have no slot free for it, and the reason that says so. */
  busyWorkers(of: TaskClass): { ids: string[]; reason: WaitReason };
  /** The run has as many live tasks as its DAG allows for one. */
  isFull(of: TaskClass, run: ReadyRun): boolean;
  /** Counts one more task of it; returns the worker that must take it, if not any will do. */
  take(of: ReadyClass, run: ReadyRun | undefined): string | undefined;
  /**
   * Keeps the amount that the class lacks free for it for the rest of the pass, when nothing else is in its way. A pool or a
   * worker is kept for one class only.
   */
  reserve(of: ReadyClass, reason: WaitReason): void;
};

type Room = { worker: WorkerRoom; slots: Map<string, number>; free: ResourceAmount; isKept: boolean };
/** `full`: the last reason for which it had no room, which is the same for thousands of classes. */
type Pool = { size: number; taken: number; reserved: number; full?: WaitReason & { code: "POOL_FULL" } };

const holds = (size: ResourceAmount, wanted: ResourceAmount): boolean =>
  size.cpu >= wanted.cpu && size.memory >= wanted.memory;

const minus = (a: ResourceAmount, b: ResourceAmount): ResourceAmount => ({
  cpu: a.cpu - b.cpu,
  memory: a.memory - b.memory,
});

const add = <Key>(map: Map<Key, number>, key: Key, more: number): void => {
  map.set(key, (map.get(key) ?? 0) + more);
};

/** What is taken before the pass, by what limits it. */
function countsOf({ live, pools, lanes }: Demand) {
  const poolsNow = new Map<string, Pool>();
  for (const [name, size] of pools) poolsNow.set(name, { size, taken: 0, reserved: 0 });
  const groupOf = new Map(lanes.map(({ id, groupId }) => [id, groupId]));
  const counts = {
    total: 0,
    pools: poolsNow,
    byLane: new Map<number, number>(),
    byGroup: new Map<number, number>(),
    byDag: new Map<string, number>(),
    /** By lane and DAG. */
    shares: new Map(lanes.map(({ id }) => [id, new Map<string, number>()])),
    add(of: TaskClass, more: number) {
      counts.total += more;
      add(counts.byLane, of.laneId, more);
      add(counts.byGroup, groupOf.get(of.laneId) ?? -1, more);
      add(counts.byDag, of.dagId, more);
      const shares = counts.shares.get(of.laneId);
      if (shares !== undefined) add(shares, of.dagId, more);
      const pool = of.pool === null ? undefined : poolsNow.get(of.pool);
      if (pool !== undefined) pool.taken += more * of.slots;
    },
  };
  for (const { of, live: n } of live) counts.add(of, n);
  return counts;
}

/** A ledger of what is taken, counting what this pass has admitted already. */
export function createLedger(demand: Demand): Ledger {
  const { dags, systemLimit, workers } = demand;
  const counts = countsOf(demand);
  const lanes = new Map(demand.lanes.map((lane) => [lane.id, lane]));
  const groups = new Map(demand.groups.map((group) => [group.id, group]));
  const ofRuns = new Map(demand.liveOfRuns);
  const rooms = workers.map((worker): Room => ({
    worker,
    slots: new Map(Object.entries(worker.freeSlots)),
    free: { ...worker.free },
    isKept: false,
  }));
  const servingRooms = createServing(rooms);

  const laneBlocks = (lane: LaneRoom): WaitReason | undefined => {
    if (lane.slots === 0) return { code: "NO_WORKER", lane: lane.lane };
    const group = groups.get(lane.groupId)!;
    const live = counts.byLane.get(lane.id) ?? 0;
    if (live >= lane.room) return { code: "SLOTS_TAKEN", lane: lane.lane, slots: lane.slots };
    if (live < lane.ownSlots || (counts.byGroup.get(group.id) ?? 0) < group.room) return undefined;
    return { code: "SLOTS_TAKEN", lane: lane.lane, slots: group.slots, shared: true };
  };

  const runLimitOf = ({ dagId }: TaskClass): number | null => dags.get(dagId)?.runLimit ?? null;

  const isFull = (of: TaskClass, { runId }: ReadyRun): boolean => {
    const limit = runLimitOf(of);
    return limit !== null && (ofRuns.get(runId) ?? 0) >= limit;
  };

  /** What will not change by waiting: nothing is kept for it, and it stands in nobody's way. */
  const neverFits = (of: TaskClass): WaitReason | undefined => {
    if (of.pool !== null) {
      const pool = counts.pools.get(of.pool);
      if (pool === undefined) return { code: "POOL_MISSING", pool: of.pool };
      if (of.slots > pool.size) return { code: "POOL_TOO_SMALL", pool: of.pool, size: pool.size, wanted: of.slots };
    }
    return isParticular(of) ? noSuchWorker(of, servingRooms) : undefined;
  };

  const countBlocks = (of: TaskClass, run: ReadyRun | undefined): WaitReason | undefined => {
    const { dagId } = of;
    const runLimit = runLimitOf(of);
    if (run !== undefined && runLimit !== null && isFull(of, run)) return { code: "RUN_LIMIT", limit: runLimit };
    const limit = dags.get(dagId)?.limit ?? null;
    const taken = counts.byDag.get(dagId) ?? 0;
    if (limit !== null && taken >= limit) return { code: "DAG_LIMIT", dagId, taken, limit };
    if (systemLimit !== null && counts.total >= systemLimit)
      return { code: "SYSTEM_LIMIT", taken: counts.total, limit: systemLimit };
    return undefined;
  };

  const poolBlocks = (of: TaskClass): WaitReason | undefined => {
    if (of.pool === null) return undefined;
    const pool = counts.pools.get(of.pool)!;
    const { size, taken, reserved, full } = pool;
    if (taken + reserved + of.slots <= size) return undefined;
    const isKept = taken + of.slots <= size;
    if (full?.taken === taken && full.wanted === of.slots && (full.kept === true) === isKept) return full;
    const kept = isKept ? { kept: true as const } : {};
    pool.full = { code: "POOL_FULL", pool: of.pool, taken, size, wanted: of.slots, ...kept };
    return pool.full;
  };

  const limitBlocks = (of: TaskClass, run: ReadyRun | undefined): WaitReason | undefined =>
    countBlocks(of, run) ?? poolBlocks(of);

  const resourcesTaken = (of: TaskClass): WaitReason => {
    const needs = of.needs.length > 0 ? { needs: of.needs } : {};
    return { code: "RESOURCES_TAKEN", lane: of.lane, wanted: of.asks, ...needs };
  };

  const workerBlocks = (of: TaskClass): WaitReason | undefined =>
    !isParticular(of) || fit(of, servingRooms) !== undefined ? undefined : resourcesTaken(of);

  return {
    share: ({ laneId, dagId }) => counts.shares.get(laneId)?.get(dagId) ?? 0,
    laneBlocks,
    neverFits,
    isFull,
    limitBlocks,
    busyWorkers(of) {
      const { slotClass } = laneParts(of.lane);
      const isBusy = ({ free, slots }: Room): boolean => holds(free, of.asks) && slots.get(slotClass)! <= 0;
      const ids = servingRooms(of).flatMap((room) => (isBusy(room) ? [room.worker.id] : []));
      return { ids, reason: resourcesTaken(of) };
    },
    blocks: (of, run) => laneBlocks(lanes.get(of.laneId)!) ?? limitBlocks(of, run) ?? workerBlocks(of),
    take(of, run) {
      counts.add(of, 1);
      if (run !== undefined) add(ofRuns, run.runId, 1);
      if (!isParticular(of)) return undefined;
      const room = fit(of, servingRooms)!;
      const { slotClass } = laneParts(of.lane);
      room.slots.set(slotClass, room.slots.get(slotClass)! - 1);
      room.free = minus(room.free, of.asks);
      return room.worker.id;
    },
    reserve(of, reason) {
      const pool = of.pool === null ? undefined : counts.pools.get(of.pool)!;
      if (reason.code === "POOL_FULL" && pool?.reserved === 0 && workerBlocks(of) === undefined)
        pool.reserved = of.slots;
      if (reason.code !== "RESOURCES_TAKEN") return;
      // The one on which most is free gets there first.
      const [room] = servingRooms(of)
        .filter(({ worker, isKept }) => !isKept && holds(worker.size, of.asks))
        .toSorted((a, b) => b.free.memory - a.free.memory || b.free.cpu - a.free.cpu);
      if (room === undefined) return;
      room.isKept = true;
      room.free = minus(room.free, of.asks);
    },
  };
}

type Serving = {
  (of: TaskClass): Room[];
  /** All workers of the class's queue, whatever they offer. */
  ofQueue(of: TaskClass): Room[];
};

function createServing(rooms: readonly Room[]): Serving {
  const byClass = new Map<number, Room[]>();
  const ofQueue = ({ lane }: TaskClass): Room[] => {
    const { queue, slotClass } = laneParts(lane);
    return rooms.filter(({ worker }) => worker.queues.includes(queue) && worker.slots[slotClass]! > 0);
  };
  const serving = (of: TaskClass): Room[] => {
    const known = byClass.get(of.id) ?? ofQueue(of).filter(({ worker }) => isOffered(of.needs, worker.offers));
    byClass.set(of.id, known);
    return known;
  };
  return Object.assign(serving, { ofQueue });
}

function noSuchWorker(of: TaskClass, serving: Serving): WaitReason | undefined {
  const { lane, asks: wanted, needs } = of;
  const sizes = serving(of).map(({ worker }) => worker.size);
  if (sizes.length === 0) {
    const versions = [...new Set(serving.ofQueue(of).map(({ worker }) => worker.version))].toSorted();
    return { code: "NO_WORKER_OFFERS", lane, needs, versions };
  }
  if (sizes.some((size) => holds(size, wanted))) return undefined;
  const most = (what: keyof ResourceAmount): number => Math.max(0, ...sizes.map((size) => size[what]));
  return { code: "NO_WORKER_LARGE_ENOUGH", lane, wanted, largest: { cpu: most("cpu"), memory: most("memory") } };
}

/** The worker that takes a task of the class: the one of which least is left, so that large holes stay for large tasks. */
function fit(of: TaskClass, serving: Serving): Room | undefined {
  const { slotClass } = laneParts(of.lane);
  const left = ({ free }: Room): number => free.memory + free.cpu;
  const goesFirst = (a: Room, b: Room): boolean => {
    if (left(a) !== left(b)) return left(a) < left(b);
    return a.worker.id < b.worker.id;
  };
  let best: Room | undefined;
  for (const room of serving(of)) {
    if (room.slots.get(slotClass)! <= 0 || !holds(room.free, of.asks)) continue;
    if (best === undefined || goesFirst(room, best)) best = room;
  }
  return best;
}
