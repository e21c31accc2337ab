import type { GroupRoom, LaneRoom } from "./demand.ts";
import type { LaneClock } from "./lane-clock.ts";
import { slotKey } from "./wait-reason.ts";

/** A lane as it is kept: what its last pass found of it, and its clock. */
export type KeptLane = {
  id: number;
  queue: string;
  slotClass: string;
  slots: number;
  room: number;
  groupId: number;
  groupRoom: number;
  ownSlots: number;
  clock: LaneClock;
};

/** Live workers that serve the same queues, added up: slots, and attempts that they claim ahead of their slots. */
export type WorkerGroup = { queues: readonly string[]; slots: Record<string, number>; ahead: Record<string, number> };

/** Slots beyond these change nothing, and their sums must fit an integer of the database. */
const MAX_SLOTS = 100_000_000;

/**
 * The dispatch window is a quarter of the slots and at least one: the next task is at the worker when a slot falls free, and the
 * order is still decided late. Workers whose tasks are short claim some ahead; the window is then twice that, so that the
 * next are handed over while those run. There is no window while a class waits for a slot of certain workers: what is handed over
 * already would take each slot before the pass that gives it to that class.
 */
function roomOf(slots: number, ahead: number, hasWindow: boolean): number {
  return slots === 0 || !hasWindow ? slots : slots + Math.max(1, Math.floor(slots / 4), 2 * ahead);
}

/**
 * What each lane has room for, where `contention` holds the keys of what classes wait for. Lanes that share a worker are a group: each one may use all of its workers' slots, and all of
 * them together use a worker's slots once. The slots of workers that serve one lane only are always for that lane.
 */
export function laneRooms(
  lanes: readonly KeptLane[],
  workers: readonly WorkerGroup[],
  contention: ReadonlySet<string>,
): { lanes: LaneRoom[]; groups: GroupRoom[] } {
  const rooms: LaneRoom[] = [];
  const sumOf = (some: readonly WorkerGroup[], what: "slots" | "ahead", slotClass: string): number =>
    Math.min(
      MAX_SLOTS,
      some.reduce((sum, worker) => sum + worker[what][slotClass]!, 0),
    );
  const groups: GroupRoom[] = [];
  for (const [slotClass, members] of Map.groupBy(lanes, (lane) => lane.slotClass)) {
    const groupOf = groupQueues(members, workers, slotClass);
    const workersOf = Map.groupBy(workers, ({ queues }) =>
      queues.map((queue) => groupOf.get(queue)).find((id) => id !== undefined),
    );
    for (const { id, queue, clock } of members) {
      const serving = workers.filter((worker) => worker.queues.includes(queue));
      const slots = sumOf(serving, "slots", slotClass);
      const ahead = sumOf(serving, "ahead", slotClass);
      const groupId = groupOf.get(queue)!;
      const alone = serving.filter(({ queues }) => queues.length === 1);
      const ownSlots = sumOf(alone, "slots", slotClass);
      const room = roomOf(slots, ahead, !contention.has(slotKey(groupId)));
      rooms.push({ id, lane: `${queue}.${slotClass}`, slots, room, groupId, ownSlots, clock });
    }
    for (const id of new Set(groupOf.values())) {
      const members = workersOf.get(id) ?? [];
      const slots = sumOf(members, "slots", slotClass);
      const ahead = sumOf(members, "ahead", slotClass);
      groups.push({ id, slots, room: roomOf(slots, ahead, !contention.has(slotKey(id))) });
    }
  }
  return { lanes: rooms, groups };
}

/** The group of each queue: the smallest id of the lanes that are joined by workers, directly or by way of others. */
function groupQueues(
  lanes: readonly KeptLane[],
  workers: readonly WorkerGroup[],
  slotClass: string,
): Map<string, number> {
  const groupOf = new Map(lanes.map(({ queue, id }) => [queue, id]));
  for (const { queues, slots } of workers) {
    const served = queues.filter((queue) => groupOf.has(queue));
    if (slots[slotClass] === 0 || served.length < 2) continue;
    const ids = new Set(served.map((queue) => groupOf.get(queue)!));
    const id = Math.min(...ids);
    for (const [queue, of] of groupOf) if (ids.has(of)) groupOf.set(queue, id);
  }
  return groupOf;
}
