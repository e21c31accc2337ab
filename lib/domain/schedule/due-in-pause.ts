import type { CompiledSchedule } from "./compile.ts";
import { type CatchupLimit, decide, MAX_AT_ONCE, type ScheduleState } from "./decide.ts";

/** Runs that were due in a pause, and how many of them start when it is made up for. */
export type DueInPause = { runs: number; madeUp: number };

/** So many are counted for each schedule: a page waits for it. */
export const MAX_DUE = 10_000;

/** What is owed since the pause began, were it to end now. */
export function dueInPause(
  schedule: CompiledSchedule,
  { position, lastDue }: ScheduleState,
  { catchup, now, since }: { catchup: CatchupLimit; now: Date; since: Date },
): DueInPause {
  const from = position < since ? since : position;
  let runs = 0;
  for (const _ of schedule.between(from, now)) if (++runs === MAX_DUE) break;
  if (typeof catchup === "object") return { runs, madeUp: Math.min(runs, catchup.all) };
  const state = { position: from, lastDue, skip: undefined };
  return { runs, madeUp: decide(schedule, state, { catchup, now, room: MAX_AT_ONCE }).fires.length };
}
