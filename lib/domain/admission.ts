import { createLedger, type Ledger } from "./admission-ledger.ts";
import { type Demand, isParticular, type LaneRoom, type ReadyClass, type ReadyRun } from "./demand.ts";
import { createHeap, type Heap } from "./heap.ts";
import { advanceClock, type LaneClock, nextPriority, PRIORITY_ORDER } from "./lane-clock.ts";
import type { Priority } from "./model/task.ts";
import { laneParts, slotKey, type WaitReason, workerKey } from "./wait-reason.ts";

/**
 * Who goes next: a pure decision over what was read without a lock. The database counts again under the lock when it
 * applies the decision, so a limit is never exceeded, whatever happened in between. docs/fairness.md declares the rule.
 */

/** One task to admit: the oldest ready one of a class, in one run where the DAG limits the tasks of a run. */
export type Grant = { classId: number; runId: string | null; workerId: string | null };

export type Admission = {
  /** In the order in which they go. */
  grants: Grant[];
  /** Why what is left of a class waits. */
  waits: Map<number, WaitReason>;
  /** Keys of the workers for a slot of which classes wait, and of the groups of lanes that are to leave it free. */
  slotKeys: Set<string>;
  /** The clocks of lanes that admit something, as they are after it. */
  clocks: Map<number, LaneClock>;
  /** More tasks of a class may be ready than were known of, and there was room for them: another pass is wanted. */
  again: boolean;
  /** It ended at `MAX_GRANTS`: of classes without a grant and without a reason nothing is known. */
  isPartial: boolean;
};

/**
 * A pass decides about so many tasks. The database needs some 60 µs for each, during which it holds the lock of admission; a
 * hundred workers may have room for fifty thousand.
 */
export const MAX_GRANTS = 4_000;

/** From this time on what others could overtake for ever has the room that it lacks kept free. */
export const RESERVE_AFTER_MS = 60_000;

type Entry = {
  of: ReadyClass;
  /** The share it was put into its heap with, and the place in the order of those with the same. */
  share: number;
  turn: number;
  left: number;
  runs: { run: ReadyRun; left: number }[] | null;
};

type Lane = {
  room: LaneRoom;
  clock: LaneClock;
  heaps: Record<Priority, Heap<Entry>>;
  turn: number;
  /** What others could overtake and have for too long. */
  overdue: Entry[];
};

/**
 * Lanes take turns, the one whose next class was admitted longest ago first. In a lane the priorities share what there is room for
 * (lane-clock.ts); within one, the DAG with the smallest share of the lane goes first, then the class that was admitted
 * longest ago, then the oldest task. What a class's turn finds blocked is out for the rest of the pass.
 */
export function decideAdmission(demand: Demand): Admission {
  const ledger = createLedger(demand);
  const pass = createPass(ledger);
  const byLane = Map.groupBy(demand.ready, ({ laneId }) => laneId);
  const open = demand.lanes.flatMap((room): Lane[] => {
    const ready = byLane.get(room.id);
    return ready === undefined ? [] : [pass.open(room, ready)];
  });
  // Before all others: by their turn, the little that falls free in a pass would have gone to those before it.
  pass.serveOverdue(open);
  const lanes = createHeap<Lane>((a, b) => a.turn - b.turn < 0 || (a.turn === b.turn && a.room.id < b.room.id), open);
  for (let lane = lanes.pop(); lane !== undefined && !pass.isFull(); lane = lanes.pop()) {
    if (pass.step(lane)) lanes.push(lane);
  }
  return pass.result();
}

/** When the class that was admitted longest ago of those that are next in a lane was admitted. */
const turnOf = (heaps: Lane["heaps"]): number =>
  Math.min(...PRIORITY_ORDER.map((priority) => heaps[priority].peek()?.turn ?? Number.POSITIVE_INFINITY));

/** What a pass has decided so far. */
function createPass(ledger: Ledger) {
  const admission: Admission = {
    grants: [],
    waits: new Map(),
    slotKeys: new Set(),
    clocks: new Map(),
    again: false,
    isPartial: false,
  };
  let now = Number.MAX_SAFE_INTEGER / 2;

  const entryOf = (of: ReadyClass): Entry => ({
    of,
    share: ledger.share(of),
    turn: of.lastAdmittedAt,
    left: of.ready,
    runs: of.runs === null ? null : of.runs.map((run) => ({ run, left: run.ready })),
  });

  const before = (a: Entry, b: Entry): boolean => {
    if (a.share !== b.share) return a.share < b.share;
    return a.turn !== b.turn ? a.turn < b.turn : a.of.id < b.of.id;
  };

  /** The heap's first entry by the shares of now: they only grow, so an entry may lie too far up, never too far down. */
  const first = (heap: Heap<Entry>): Entry | undefined => {
    for (;;) {
      const entry = heap.peek();
      if (entry === undefined) return undefined;
      const share = ledger.share(entry.of);
      if (share === entry.share) return entry;
      heap.pop();
      heap.push({ ...entry, share });
    }
  };

  /** Which run the class's next task is of: the oldest that has one and room for it. */
  const nextRun = ({ runs, of }: Entry): { run: ReadyRun; left: number } | undefined => {
    while (runs !== null && runs.length > 0 && (runs[0]!.left === 0 || ledger.isFull(of, runs[0]!.run))) runs.shift();
    return runs?.[0];
  };

  const isOverdue = (of: ReadyClass): boolean => of.waitedMs >= RESERVE_AFTER_MS && (of.slots > 1 || isParticular(of));

  /** `run`: the one whose limit counts, where its DAG limits the tasks of one. */
  const wait = (lane: Lane, of: ReadyClass, reason: WaitReason, run: ReadyRun | undefined): void => {
    admission.waits.set(of.id, isParticular(of) ? waitForWorker(lane, of, reason, run) : reason);
  };

  /**
   * Keeps the slots of workers that could run the class, where a slot is all that it waits for; returns its reason. Also in a lane that is full: a
   * slot of these workers is what it waits for then, and not just any. What a limit keeps from running takes no slot that falls free.
   */
  const waitForWorker = (lane: Lane, of: ReadyClass, reason: WaitReason, run: ReadyRun | undefined): WaitReason => {
    const limit = ledger.limitBlocks(of, run);
    if (limit !== undefined) return limit;
    const busy = ledger.busyWorkers(of);
    if (busy.ids.length === 0) return reason;
    admission.slotKeys.add(slotKey(lane.room.groupId));
    for (const id of busy.ids) admission.slotKeys.add(workerKey(laneParts(of.lane).slotClass, id));
    return busy.reason;
  };

  const close = (lane: Lane, reason: WaitReason): void => {
    for (const priority of PRIORITY_ORDER) {
      const heap = lane.heaps[priority];
      for (let entry = heap.pop(); entry !== undefined; entry = heap.pop()) {
        // Where all that was known of has gone, the next pass knows whether there is more.
        if (entry.left > 0) wait(lane, entry.of, reason, nextRun(entry)?.run ?? entry.of.runs?.[0]);
      }
    }
  };

  const take = (lane: Lane, entry: Entry, inRun: { run: ReadyRun; left: number } | undefined): void => {
    const { of } = entry;
    const workerId = ledger.take(of, inRun?.run) ?? null;
    admission.grants.push({ classId: of.id, runId: inRun?.run.runId ?? null, workerId });
    lane.clock = advanceClock(lane.clock, of.priority);
    admission.clocks.set(lane.room.id, lane.clock);
    entry.left--;
    if (inRun !== undefined) inRun.left--;
    lane.heaps[of.priority].push({ ...entry, turn: now++, share: ledger.share(of) });
  };

  /** What was known of the class has gone; where there may be more, that is for another pass, or its runs are full. */
  const end = (lane: Lane, { of, runs }: Entry, left: number): void => {
    if (runs !== null && (left > 0 || of.hasMore)) {
      const run = of.runs!.find((each) => ledger.isFull(of, each)) ?? of.runs![0]!;
      const reason = ledger.blocks(of, run);
      if (reason !== undefined) wait(lane, of, reason, run);
    }
    if (of.hasMore) admission.again = true;
  };

  return {
    result: () => admission,
    isFull(): boolean {
      if (admission.grants.length < MAX_GRANTS) return false;
      admission.again = true;
      admission.isPartial = true;
      return true;
    },
    open(room: LaneRoom, ready: readonly ReadyClass[]): Lane {
      // What can never fit has no turn, so that it changes nothing for the others.
      const possible = ready.filter((of) => {
        const never = room.slots === 0 ? undefined : ledger.neverFits(of);
        if (never !== undefined) admission.waits.set(of.id, never);
        return never === undefined;
      });
      const heapOf = (wanted: Priority): Heap<Entry> =>
        createHeap(before, possible.filter((of) => of.priority === wanted && !isOverdue(of)).map(entryOf));
      const heaps = { high: heapOf("high"), medium: heapOf("medium"), low: heapOf("low") };
      const overdue = possible.filter(isOverdue).map(entryOf);
      return { room, clock: room.clock, heaps, turn: turnOf(heaps), overdue };
    },
    /** One task of each class that has waited too long, the longest first, or the room that it lacks is kept for it. */
    serveOverdue(open: readonly Lane[]): void {
      const all = open.flatMap((lane) => lane.overdue.map((entry) => ({ lane, entry })));
      for (const { lane, entry } of all.toSorted((a, b) => b.entry.of.waitedMs - a.entry.of.waitedMs)) {
        const { of } = entry;
        const inRun = nextRun(entry);
        const reason = ledger.blocks(of, inRun?.run ?? of.runs?.[0]);
        if (reason === undefined) take(lane, entry, inRun);
        else if (reason.code !== "POOL_FULL" && reason.code !== "RESOURCES_TAKEN") lane.heaps[of.priority].push(entry);
        else {
          wait(lane, of, reason, inRun?.run ?? of.runs?.[0]);
          ledger.reserve(of, reason);
        }
      }
      for (const lane of open) lane.turn = turnOf(lane.heaps);
    },
    /** One more class of the lane has its turn; false when nothing is left to decide in it. */
    step(lane: Lane): boolean {
      const blocked = ledger.laneBlocks(lane.room);
      if (blocked !== undefined) close(lane, blocked);
      const priority = nextPriority(lane.clock, (each) => lane.heaps[each].size > 0);
      if (priority === undefined) return false;
      const heap = lane.heaps[priority];
      const entry = first(heap)!;
      heap.pop();
      const inRun = nextRun(entry);
      if (entry.left === 0 || (entry.runs !== null && inRun === undefined)) end(lane, entry, entry.left);
      else {
        const reason = ledger.blocks(entry.of, inRun?.run);
        if (reason === undefined) take(lane, entry, inRun);
        else wait(lane, entry.of, reason, inRun?.run);
      }
      lane.turn = turnOf(lane.heaps);
      return true;
    },
  };
}
