import type { CompiledSchedule } from "./compile.ts";
import { type Note, notesOf } from "./notes.ts";
import { type Change, DAY_MS, localText } from "./zone.ts";

/** Clocks are set from one local time to another, and this is what it does to a schedule. */
export type ClockChange = {
  at: Date;
  from: string;
  to: string;
  effects: { due: Date; note: Note }[];
  /** There are more effects than are told. */
  isMore: boolean;
  /** Times of a wildcard job that no clock shows on that day. */
  unshown: string[];
};

/** Rules of zones are set for years, and those of some zones for a year at a time. */
const LOOK_MS = 800 * DAY_MS;
const MAX_CHANGES = 2;
const MAX_EFFECTS = 4;

/** The next clock changes of a schedule's zone; none where clocks are never changed. */
export function clockChanges(schedule: CompiledSchedule, after: Date): ClockChange[] {
  const { zone } = schedule.parts;
  const changes = zone.changesIn(after.getTime(), after.getTime() + LOOK_MS).slice(0, MAX_CHANGES);
  return changes.map((change) => {
    const span = Math.abs(change.after - change.before);
    const effects: ClockChange["effects"] = [];
    for (const fire of schedule.between(new Date(change.at - span - 1), new Date(change.at + span))) {
      const note = notesOf(schedule, fire).find(({ kind }) => kind === "gap" || kind === "overlap");
      if (note !== undefined && effects.push({ due: fire.due, note }) > MAX_EFFECTS) break;
    }
    return {
      at: new Date(change.at),
      from: localText(change.at + change.before),
      to: localText(change.at + change.after),
      effects: effects.slice(0, MAX_EFFECTS),
      isMore: effects.length > MAX_EFFECTS,
      unshown: unshownTimes(schedule, change),
    };
  });
}

function unshownTimes({ parts: { cron } }: CompiledSchedule, { at, before, after }: Change): string[] {
  const unshown: string[] = [];
  if (cron?.cron.isWildcard !== true) return unshown;
  for (
    let local = cron.times.next(at + before);
    local !== undefined && local < at + after;
    local = cron.times.next(local + 1)
  )
    if (unshown.push(localText(local).slice(11)) === MAX_EFFECTS) break;
  return unshown;
}
