import type { Priority } from "./model/task.ts";

/**
 * How a lane shares what it admits between the priorities that wait in it: start-time fair queueing. A priority's next task
 * starts at the later of the lane's time and the end of its last one; the earliest start goes first, and the higher priority
 * of two. The lane's time is the start of what was admitted last, so a priority that had nothing ready comes back at once
 * and has saved nothing up.
 */
export type LaneClock = Readonly<Record<Priority, number>> & { readonly time: number };

/** How far one task moves its priority on: of 21 tasks, 16 are high, 4 medium and 1 low while all three wait. */
const COST: Readonly<Record<Priority, number>> = { high: 1, medium: 4, low: 16 };

export const PRIORITY_ORDER = ["high", "medium", "low"] as const satisfies readonly Priority[];

/** A lane that has admitted nothing yet. */
export const NEW_CLOCK: LaneClock = { time: 0, high: 0, medium: 0, low: 0 };

const startOf = (clock: LaneClock, priority: Priority): number => Math.max(clock.time, clock[priority]);

/** Which of the priorities with something waiting goes next; undefined when there is none. */
export function nextPriority(clock: LaneClock, waits: (priority: Priority) => boolean): Priority | undefined {
  let next: Priority | undefined;
  for (const priority of PRIORITY_ORDER) {
    if (!waits(priority)) continue;
    if (next === undefined || startOf(clock, priority) < startOf(clock, next)) next = priority;
  }
  return next;
}

/** The clock after one more task of this priority was admitted. */
export function advanceClock(clock: LaneClock, priority: Priority): LaneClock {
  const start = startOf(clock, priority);
  return { ...clock, time: start, [priority]: start + COST[priority] };
}
