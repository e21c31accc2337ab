import { WEEKDAY_NAMES } from "../model/calendar.ts";
import type { Blackout } from "../model/schedule.ts";
import { type DayGate, weekdayNumber, weekdayOf } from "./calendar.ts";
import { DAY_MS, type Zone } from "./zone.ts";

/** Stretches of time in which no run starts: blackouts, and the days that an interval leaves out. */
export type Regions = {
  isClosed(at: number): boolean;
  /** The first instant that is not closed, `at` itself when it is not; Infinity when none comes. */
  endOf(at: number): number;
  /** Since when it has been closed without a break; only for a closed instant. */
  startOf(at: number): number;
};

/** A stretch that holds the instant it was asked about; several may lie side by side. */
type Stretch = { from: number; to: number };
type StretchAt = (at: number) => Stretch | undefined;

/** Longer chains of stretches count as endless: windows that leave no time between them, days that are all closed. */
const MAX_CHAIN = 500;

function regionsOf(stretches: readonly StretchAt[]): Regions {
  const widest = (at: number): Stretch | undefined => {
    let found: Stretch | undefined;
    for (const stretchAt of stretches) {
      const one = stretchAt(at);
      if (one === undefined) continue;
      found = found === undefined ? one : { from: Math.min(found.from, one.from), to: Math.max(found.to, one.to) };
    }
    return found;
  };
  return {
    isClosed: (at) => widest(at) !== undefined,
    endOf(at) {
      let to = at;
      for (let step = 0; step < MAX_CHAIN; step++) {
        const stretch = widest(to);
        if (stretch === undefined) return to;
        to = stretch.to;
      }
      return Infinity;
    },
    startOf(at) {
      let from = at;
      for (let stretch = widest(at), step = 0; stretch !== undefined && step < MAX_CHAIN; step++) {
        from = stretch.from;
        stretch = widest(from - 1);
      }
      return from;
    },
  };
}

/** Instants at which clocks of the zone show a time inside one of the windows, and those inside windows of one time. */
export function blackoutRegions(windows: Blackout["windows"], zone: Zone): Regions {
  const weekly = windows.flatMap((window) => ("start" in window ? [] : weeklyStretches(window)));
  const fixed = windows.flatMap((window) =>
    "start" in window ? [{ from: Date.parse(window.start), to: Date.parse(window.end) }] : [],
  );
  return regionsOf([
    ...(weekly.length === 0 ? [] : [weeklyStretch(merged(weekly), zone)]),
    ...(fixed.length === 0 ? [] : [fixedStretch(merged(fixed))]),
  ]);
}

/** The days on which an interval's runs are not due. */
export function closedDays(isClosed: DayGate, zone: Zone): Regions {
  return regionsOf([
    (at) => {
      const offset = zone.offsetAt(at);
      const day = Math.floor((at + offset) / DAY_MS);
      if (isClosed(day) === undefined) return undefined;
      return withinChanges(zone, at, { from: day * DAY_MS - offset, to: (day + 1) * DAY_MS - offset });
    },
  ]);
}

/** In order, and without overlaps. */
function merged(stretches: readonly Stretch[]): Stretch[] {
  const found: Stretch[] = [];
  for (const { from, to } of stretches.toSorted((a, b) => a.from - b.from)) {
    const last = found.at(-1);
    if (last === undefined || from > last.to) found.push({ from, to });
    else last.to = Math.max(last.to, to);
  }
  return found;
}

function fixedStretch(stretches: readonly Stretch[]): StretchAt {
  return (at) => stretches.find(({ from, to }) => at >= from && at < to);
}

const WEEK_MS = 7 * DAY_MS;

/** The weeks that are counted begin on a Thursday, as 1970 did. */
function weeklyStretch(stretches: readonly Stretch[], zone: Zone): StretchAt {
  return (at) => {
    const offset = zone.offsetAt(at);
    const week = Math.floor((at + offset) / WEEK_MS) * WEEK_MS;
    const inWeek = at + offset - week;
    const found = stretches.find(({ from, to }) => inWeek >= from && inWeek < to);
    if (found === undefined) return undefined;
    return withinChanges(zone, at, { from: week + found.from - offset, to: week + found.to - offset });
  };
}

type DailyWindow = Exclude<Blackout["windows"][number], { start: string }>;

/** A window's stretches of the week. One that runs past midnight belongs to the day on which it begins. */
function weeklyStretches({ from, to, days }: DailyWindow): Stretch[] {
  const [begin, end] = [timeOfDay(from), timeOfDay(to)];
  const length = end > begin ? end - begin : end - begin + DAY_MS;
  const weekdays = new Set((days ?? WEEKDAY_NAMES).map(weekdayNumber));
  return [0, 1, 2, 3, 4, 5, 6].flatMap((day) => {
    if (!weekdays.has(weekdayOf(day))) return [];
    const start = day * DAY_MS + begin;
    const over = start + length - WEEK_MS;
    return [{ from: start, to: Math.min(start + length, WEEK_MS) }, ...(over > 0 ? [{ from: 0, to: over }] : [])];
  });
}

/** The part of a stretch of local time in which clocks are not set: what is beyond is asked for anew. */
function withinChanges(zone: Zone, at: number, { from, to }: Stretch): Stretch {
  const changes = zone.changesIn(from, to);
  if (changes.length === 0) return { from, to };
  const last = changes.findLast((change) => change.at <= at);
  const next = changes.find((change) => change.at > at);
  return { from: last?.at ?? from, to: next?.at ?? to };
}

/** Milliseconds since midnight of `22:30` or `24:00`. */
function timeOfDay(text: string): number {
  const [hours, minutes] = text.split(":").map(Number);
  return (hours! * 60 + minutes!) * 60_000;
}
