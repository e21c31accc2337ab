import { dayText } from "./calendar-date.ts";
import { DAY_MS } from "./zone.ts";

/**
 * Days of an iCalendar file (RFC 5545), as calendars have them: what holidays are published in. All-day events are read,
 * of several days too, and those that repeat every year. What cannot be read is told and not left out in silence.
 */
export type IcsResult = { ok: true; dates: string[] } | { ok: false; problems: IcsProblem[] };

/** `line` counts from 1. */
export type IcsProblem = { line: number; message: string };

const MAX_LENGTH = 4_000_000;
/** Of one event. */
const MAX_DAYS = 366;
const MAX_YEARS = 200;
const MAX_PROBLEMS = 20;

export function readIcs(text: string): IcsResult {
  if (text.length > MAX_LENGTH) return refused(1, `the file has more than ${MAX_LENGTH} characters`);
  const lines = contentLines(text);
  if (lines[0]?.name !== "BEGIN" || lines[0].value.toUpperCase() !== "VCALENDAR")
    return refused(1, "this is no iCalendar file: those begin with BEGIN:VCALENDAR");
  const events = eventsOf(lines);
  if (events.length === 0) return refused(1, "the file has no events (BEGIN:VEVENT)");
  const found = new Map<string, string>();
  const problems: IcsProblem[] = [];
  for (const event of events) {
    const days = daysOfEvent(event);
    if (!days.ok) problems.push(days.problem);
    else for (const day of days.days) if (!found.has(day)) found.set(day, days.name);
  }
  if (problems.length > 0) return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
  return { ok: true, dates: [...found].map(([day, name]) => `${day} ${name}`.trim()).toSorted() };
}

const refused = (line: number, message: string): IcsResult => ({ ok: false, problems: [{ line, message }] });

type Line = { line: number; name: string; value: string };

/** Long lines are folded: a line that begins with a blank goes on with the one before. */
function contentLines(text: string): Line[] {
  const found: { line: number; text: string }[] = [];
  for (const [index, physical] of text
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/)
    .entries()) {
    const last = found.at(-1);
    if (/^[ \t]/.test(physical) && last !== undefined) last.text += physical.slice(1);
    else if (physical !== "") found.push({ line: index + 1, text: physical });
  }
  return found.map(({ line, text: whole }) => ({ line, ...nameAndValue(whole) }));
}

/** Parameters between the name and the colon are left out; a quoted one may have colons of its own. */
function nameAndValue(text: string): { name: string; value: string } {
  let isQuoted = false;
  let colon = text.length;
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '"') isQuoted = !isQuoted;
    if (text[index] === ":" && !isQuoted) {
      colon = index;
      break;
    }
  }
  return { name: (/^[^;:]*/.exec(text)?.[0] ?? "").toUpperCase(), value: text.slice(colon + 1).trim() };
}

/** The first of the fields of each name. */
type Event = { line: number; fields: Map<string, Line> };

/** Alarms and other components inside an event have the same names of fields, and are not the event's. */
function eventsOf(lines: readonly Line[]): Event[] {
  const events: Event[] = [];
  const open: string[] = [];
  for (const line of lines) {
    const component = line.value.toUpperCase();
    if (line.name === "BEGIN") {
      open.push(component);
      if (component === "VEVENT") events.push({ line: line.line, fields: new Map() });
    } else if (line.name === "END") open.pop();
    else if (open.at(-1) === "VEVENT") {
      const { fields } = events.at(-1)!;
      if (!fields.has(line.name)) fields.set(line.name, line);
    }
  }
  return events;
}

type EventDays = { ok: true; days: string[]; name: string } | { ok: false; problem: IcsProblem };

function daysOfEvent(event: Event): EventDays {
  const field = (name: string): Line | undefined => event.fields.get(name);
  const name = nameOf(field("SUMMARY")?.value ?? "");
  if (field("STATUS")?.value.toUpperCase() === "CANCELLED") return { ok: true, days: [], name };
  const read = datesOfEvent(field);
  if (read.ok) return { ...read, name };
  const called = name === "" ? "an event" : `the event "${name}"`;
  return { ok: false, problem: { line: read.at?.line ?? event.line, message: `${called} ${read.message}` } };
}

const UNREAD = ["RDATE", "EXDATE", "RECURRENCE-ID"];

type EventDates = { ok: true; days: string[] } | { ok: false; at: Line | undefined; message: string };

function datesOfEvent(field: (name: string) => Line | undefined): EventDates {
  const bad = (at: Line | undefined, message: string): EventDates => ({ ok: false, at, message });
  const start = field("DTSTART");
  const first = start === undefined ? undefined : dayOf(start.value);
  if (first === undefined)
    return bad(start, "is not of whole days; only all-day events (DTSTART as a date) are days of a calendar");
  const unread = UNREAD.map(field).find((line) => line !== undefined);
  if (unread !== undefined) return bad(unread, `has ${unread.name}, which is not read; write its dates by hand`);
  const [end, duration, rule] = [field("DTEND"), field("DURATION"), field("RRULE")];
  const length = lengthOf(first, end, duration);
  if (length === undefined) return bad(end ?? duration, `does not end within ${MAX_DAYS} days after it begins`);
  const starts = rule === undefined ? [first] : startsOf(rule.value, first);
  if (starts === undefined)
    return bad(rule, `repeats by ${rule?.value.slice(0, 80)}, and only whole years are read; write its dates by hand`);
  const begins = starts === "yearly" ? [first] : starts;
  const texts = begins.flatMap((day) => Array.from({ length }, (_, index) => dayText(day + index)));
  return { ok: true, days: starts === "yearly" ? texts.map((text) => text.slice(5)) : texts };
}

/** Texts have escaped commas, semicolons and line ends. */
function nameOf(summary: string): string {
  return summary
    .replaceAll(/\\n/gi, " ")
    .replaceAll(/\\(.)/g, "$1")
    .replaceAll(/[\0-\x1f\s]+/g, " ")
    .trim()
    .slice(0, 100)
    .trim();
}

/** Midnight without a zone is also written for a whole day. */
const DATE = /^(\d{4})(\d\d)(\d\d)(?:T000000)?$/;

function dayOf(value: string): number | undefined {
  const [, year, month, date] = DATE.exec(value) ?? [];
  if (year === undefined || Number(year) < 1_000) return undefined;
  const at = new Date(Date.UTC(Number(year), Number(month) - 1, Number(date)));
  return at.getUTCDate() === Number(date) && at.getUTCMonth() + 1 === Number(month) ? at.getTime() / DAY_MS : undefined;
}

/** How many days it takes. DTEND is the first day that is no longer part of it; some write the same day twice. */
function lengthOf(first: number, end: Line | undefined, duration: Line | undefined): number | undefined {
  if (end !== undefined) {
    const last = dayOf(end.value);
    return last === undefined || last < first || last - first > MAX_DAYS ? undefined : Math.max(1, last - first);
  }
  if (duration === undefined) return 1;
  const [, days, unit] = /^P(\d{1,3})([DW])$/.exec(duration.value) ?? [];
  const length = days === undefined ? undefined : Number(days) * (unit === "W" ? 7 : 1);
  return length === undefined || length < 1 || length > MAX_DAYS ? undefined : length;
}

type Rule = { until: number; count: number };

/** The days on which a repeated event begins; `yearly` when it has no end. */
function startsOf(text: string, first: number): number[] | "yearly" | undefined {
  const begin = new Date(first * DAY_MS);
  const rule = yearlyRule(text, begin);
  if (rule === undefined) return undefined;
  if (rule.until === Infinity && rule.count === Infinity) return "yearly";
  const starts: number[] = [];
  for (let year = 0; year < MAX_YEARS && starts.length < rule.count; year++) {
    const at = new Date(begin);
    at.setUTCFullYear(begin.getUTCFullYear() + year);
    // The 29th of February is not there in every year.
    if (at.getUTCDate() !== begin.getUTCDate()) continue;
    const day = at.getTime() / DAY_MS;
    if (day > rule.until) break;
    starts.push(day);
  }
  return starts;
}

/** The end of a rule that says nothing but "on this day of every year". */
function yearlyRule(text: string, begin: Date): Rule | undefined {
  const allowed: Record<string, (value: string) => boolean> = {
    FREQ: (value) => value === "YEARLY",
    INTERVAL: (value) => value === "1",
    BYMONTH: (value) => value === String(begin.getUTCMonth() + 1),
    BYMONTHDAY: (value) => value === String(begin.getUTCDate()),
    WKST: () => true,
    COUNT: (value) => /^[1-9]\d{0,2}$/.test(value),
    UNTIL: (value) => dayOf(value.slice(0, 8)) !== undefined,
  };
  const parts = new Map<string, string>();
  for (const part of text.toUpperCase().split(";")) {
    const [key = "", value = ""] = part.split("=");
    if (!Object.hasOwn(allowed, key) || !allowed[key]!(value)) return undefined;
    parts.set(key, value);
  }
  const [until, count] = [parts.get("UNTIL"), parts.get("COUNT")];
  return {
    until: until === undefined ? Infinity : dayOf(until.slice(0, 8))!,
    count: count === undefined ? Infinity : Number(count),
  };
}
