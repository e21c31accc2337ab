import { type Calendar, type CalendarUse, WEEKDAY_NAMES, WEEKENDS } from "../model/calendar.ts";
import { dateOfText } from "./calendar-date.ts";
import { type DaySet, monthlyDays } from "./cron/days.ts";
import { DAY_MS } from "./zone.ts";

/** Why no run is due on a day, in a few words; undefined when one may be. */
export type DayGate = (day: number) => string | undefined;

const BUILT_IN: Record<string, Calendar> = { [WEEKENDS]: { weekdays: ["sat", "sun"] } };

/** The calendar of that name, if there is one. */
export function calendarOf(calendars: Readonly<Record<string, Calendar>>, name: string): Calendar | undefined {
  if (Object.hasOwn(calendars, name)) return calendars[name];
  return Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
}

/** Names that a schedule may use. */
export function calendarNames(calendars: Readonly<Record<string, Calendar>>): string[] {
  return [...new Set([...Object.keys(calendars), ...Object.keys(BUILT_IN)])];
}

/** What a schedule's use of calendars says about days. Calendars that do not exist have no days. */
export function dayGate(use: CalendarUse, calendars: Readonly<Record<string, Calendar>>): DayGate {
  const named = (names: readonly string[] = []): Days[] =>
    names.map((name) => daysOfCalendar(name, calendarOf(calendars, name) ?? {}));
  const except = named(use.except);
  const only = use.only === undefined ? undefined : named(use.only);
  const elsewhere = `not in ${(use.only ?? []).join(" or ")}`;
  return (day) => {
    for (const names of except) {
      const name = names(day);
      if (name !== undefined) return name;
    }
    return only === undefined || only.some((names) => names(day) !== undefined) ? undefined : elsewhere;
  };
}

/** What a day is called in a calendar; undefined when it is not in it. */
type Days = (day: number) => string | undefined;

const LONG_NAMES = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** 1970-01-01 was a Thursday. */
export const weekdayOf = (day: number): number => (((day + 4) % 7) + 7) % 7;

/** 0 for Sunday, as `weekdayOf` has it. */
export const weekdayNumber = (name: (typeof WEEKDAY_NAMES)[number]): number => (WEEKDAY_NAMES.indexOf(name) + 1) % 7;

type ReadCalendar = { onWeekdays: Set<number>; onDates: Map<number, string>; everyYear: Map<number, string> };

/** Schedules of one DAG share its calendars, which may have thousands of dates. */
const read = new WeakMap<Calendar, ReadCalendar>();

/** Days without a name have an empty one. */
function readCalendar(calendar: Calendar): ReadCalendar {
  const known = read.get(calendar);
  if (known !== undefined) return known;
  const { weekdays = [], dates = [] } = calendar;
  const fresh: ReadCalendar = {
    onWeekdays: new Set(weekdays.map(weekdayNumber)),
    onDates: new Map(),
    everyYear: new Map(),
  };
  for (const text of dates) {
    const date = dateOfText(text);
    if (date?.kind === "date") fresh.onDates.set(date.day, date.name ?? "");
    if (date?.kind === "yearly") fresh.everyYear.set(date.month * 100 + date.date, date.name ?? "");
  }
  read.set(calendar, fresh);
  return fresh;
}

function daysOfCalendar(calendar: string, definition: Calendar): Days {
  const { onWeekdays, onDates, everyYear } = readCalendar(definition);
  return (day) => {
    const onDate = onDates.get(day);
    if (onDate !== undefined) return onDate || calendar;
    if (everyYear.size > 0) {
      const at = new Date(day * DAY_MS);
      const yearly = everyYear.get((at.getUTCMonth() + 1) * 100 + at.getUTCDate());
      if (yearly !== undefined) return yearly || calendar;
    }
    const weekday = weekdayOf(day);
    return onWeekdays.has(weekday) ? LONG_NAMES[weekday] : undefined;
  };
}

/** What lies further from an allowed day is left out, also when it would be shifted. */
const MAX_SHIFT_DAYS = 366;

export type GatedDays = DaySet & {
  /** Days of the base that are moved to this one. */
  movedTo(day: number): number[];
};

/** The days of `base` on which a run may be due, and those to which another one's run is moved. */
export function gatedDays(base: DaySet, isClosed: DayGate, shift: CalendarUse["shift"]): GatedDays {
  const step = shift === "previous" ? 1 : -1;
  const movedTo = (day: number): number[] => {
    const found: number[] = [];
    if (shift === undefined) return found;
    for (let near = day + step; Math.abs(near - day) <= MAX_SHIFT_DAYS && isClosed(near) !== undefined; near += step) {
      if (base.has(near)) found.push(near);
    }
    return shift === "next" ? found.reverse() : found;
  };
  const days = monthlyDays((year, month) => {
    const first = Date.UTC(year, month - 1, 1) / DAY_MS;
    const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
    let mask = 0;
    for (let date = 1; date <= length; date++) {
      const day = first + date - 1;
      if (isClosed(day) !== undefined) continue;
      if (base.has(day) || movedTo(day).length > 0) mask |= 1 << date;
    }
    return mask;
  });
  return { ...days, movedTo };
}
