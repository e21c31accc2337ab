import type { CompiledSchedule, Fire } from "./compile.ts";
import { type Note, notesOf, skippedNotes } from "./notes.ts";

/** A run that will start, of the schedule with this index, with what was left out before it and what is special about it. */
export type Upcoming = Fire & { schedule: number; notes: Note[] };

const END_OF_TIME = new Date(8.64e15);

/** So many runs are looked back for one that is due already and starts later. */
const MAX_WAITING = 1_000;

/** The first `count` runs of some schedules that start after `after`, in the order of their starts. */
export function preview(schedules: readonly CompiledSchedule[], after: Date, count: number): Upcoming[] {
  const lanes = schedules.map((schedule, index) => {
    const fires = startingAfter(schedule, after);
    return { schedule, index, fires, head: fires.next() };
  });
  const found: Upcoming[] = [];
  while (found.length < count) {
    let first: (typeof lanes)[number] | undefined;
    for (const lane of lanes) {
      if (lane.head.done === true) continue;
      if (first === undefined || lane.head.value.at < first.head.value!.at) first = lane;
    }
    if (first === undefined || first.head.done === true) break;
    const { schedule, index } = first;
    const fire = first.head.value;
    found.push({ ...fire, schedule: index, notes: [...skippedNotes(schedule, fire), ...notesOf(schedule, fire)] });
    first.head = first.fires.next();
  }
  return found;
}

function startingAfter(schedule: CompiledSchedule, after: Date): Generator<Fire, void, undefined> {
  // What is due and waits, for the end of a blackout or by jitter, still starts.
  let position = new Date(after.getTime() + 1);
  for (let step = 0; step < MAX_WAITING; step++) {
    const before = schedule.prev(position);
    if (before === undefined || before.at <= after) break;
    position = before.due;
  }
  return schedule.between(new Date(position.getTime() - 1), END_OF_TIME);
}
