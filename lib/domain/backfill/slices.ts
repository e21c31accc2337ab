import type { CompiledSchedule, Fire } from "../schedule/compile.ts";
import { notesOf, skippedNotes } from "../schedule/notes.ts";
import type { Range } from "./range.ts";

/** A logical date of one schedule, with the time that its run is about. */
export type Slice = {
  scheduleId: string;
  logicalDate: Date;
  interval: { start: Date; end: Date };
  /** What calendars, blackouts and clock changes do to it. */
  notes: readonly string[];
};

/** A schedule as it stands. */
export type StandingSchedule = {
  id: string;
  compiled: CompiledSchedule;
  /** What was due up to here is started or dropped. Null when it starts nothing: its DAG is paused or missing. */
  position: Date | null;
};

export const MAX_SLICES = 10_000;

/** Beyond so many, they are not counted any more. */
const MAX_COUNTED = 10 * MAX_SLICES;

export type Slices = {
  /** By logical date, then in the order of the schedules; none of them when there are more than `MAX_SLICES`. */
  slices: Slice[];
  /** How many there are; at least so many when `MAX_COUNTED` is reached. */
  count: number;
  /** Whose time has not ended yet. */
  notDue: number;
  /** Which are due, and whose schedule is going to start them itself. */
  leftToSchedule: number;
};

/**
 * The logical dates in a range that some schedules have had due: exactly their fires, at their instants. Jitter, which only
 * moves the start, plays no part.
 */
export function slicesOf(schedules: readonly StandingSchedule[], range: Range, now: Date): Slices {
  const found: Slices = { slices: [], count: 0, notDue: 0, leftToSchedule: 0 };
  for (const schedule of schedules) addSlices(found, schedule, range, now);
  if (found.count > MAX_SLICES) return { ...found, slices: [] };
  found.slices.sort((a, b) => a.logicalDate.getTime() - b.logicalDate.getTime());
  return found;
}

const END_OF_TIME = new Date(8.64e15);

function addSlices(found: Slices, { id, compiled, position }: StandingSchedule, range: Range, now: Date): void {
  // The first fire of all is at its logical date; every other one is after.
  for (const fire of compiled.between(new Date(range.start.getTime() - 1), END_OF_TIME)) {
    if (fire.logicalDate > range.end || found.count >= MAX_COUNTED) return;
    if (fire.logicalDate < range.start) continue;
    if (fire.due > now) {
      found.notDue += 1;
      if (found.notDue >= MAX_COUNTED) return;
    } else if (position !== null && fire.due > position) found.leftToSchedule += 1;
    else {
      found.count += 1;
      if (found.count <= MAX_SLICES) found.slices.push(sliceOf(id, compiled, fire));
    }
  }
}

function sliceOf(scheduleId: string, compiled: CompiledSchedule, fire: Fire): Slice {
  const { logicalDate, interval } = fire;
  // Runs of a backfill start when there is room for them, whatever the schedule does to a start.
  const notes = [...skippedNotes(compiled, fire), ...notesOf(compiled, fire)].filter(
    ({ kind }) => kind !== "jitter" && kind !== "blackout",
  );
  return { scheduleId, logicalDate, interval, notes: notes.map(({ text }) => text) };
}
