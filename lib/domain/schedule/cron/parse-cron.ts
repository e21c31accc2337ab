import { nearestName } from "../../nearest.ts";
import { daysOf, type DayRule } from "./cron-days.ts";
import { type Field, FIELDS, parseItem, valueOf, WEEKDAYS } from "./cron-item.ts";

/**
 * A cron expression, read. Which of them are *wildcard jobs* is decided here: those whose minute or hour field has an
 * item that is written as all of it, or as every n-th of all of it (an asterisk, an asterisk with a step, 0-59, 0-23/2),
 * or lists every value. All others are *fixed-time jobs*: a field of seconds makes no difference. It is Debian cron's
 * rule ("with '*' in the hour or minute specifier", cron(8)), for every spelling of the same thing.
 *
 * Also Debian's (crontab(5)): when a day field has an asterisk a day must be in both day fields, otherwise in one.
 */
export type Cron = {
  /** Five or six fields, blanks made one, macros written out. */
  text: string;
  seconds: readonly number[];
  minutes: readonly number[];
  hours: readonly number[];
  days: DayRule;
  isWildcard: boolean;
};

export type CronResult = { ok: true; cron: Cron } | { ok: false; message: string };

const MACROS: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
  "@minutely": "* * * * *",
  "@secondly": "* * * * * *",
  "@weekdays": "0 0 * * 1-5",
  "@weekends": "0 0 * * 0,6",
};

/** Listing every value of every field takes some 400. */
export const MAX_CRON_LENGTH = 512;

/** Reads an expression; the message says which field, what stands there, and what would be right. */
export function parseCron(given: string): CronResult {
  if (given.length > MAX_CRON_LENGTH) return wrong(`a cron expression has at most ${MAX_CRON_LENGTH} characters`);
  const trimmed = given.trim();
  const text = trimmed.startsWith("@") ? MACROS[trimmed] : trimmed;
  if (text === undefined) return wrong(unknownMacro(trimmed));
  const words = text.split(/\s+/);
  if (text === "" || words.length < 5 || words.length > 6)
    return wrong(wrongCount(text === "" ? 0 : words.length, words));
  const all = words.length === 6 ? words : ["0", ...words];
  const parts: Part[] = [];
  for (const [index, field] of FIELDS.entries()) {
    const read = parsePart(field, all[index]!);
    if (!read.ok) return read;
    parts.push(read.part);
  }
  return checked(cronOf(words.join(" "), parts));
}

const wrong = (message: string): { ok: false; message: string } => ({ ok: false, message });

function unknownMacro(text: string): string {
  if (/^@every\b/.test(text)) return "@every is not read; write `every: 15m` instead of a cron expression";
  if (text === "@reboot") return "@reboot is not a time: nothing here boots";
  const near = nearestName(text.slice(0, 20), Object.keys(MACROS), "@");
  const hint = near === undefined ? `known are ${Object.keys(MACROS).join(", ")}` : `did you mean ${near}?`;
  return `"${text.slice(0, 40)}" is not known; ${hint}`;
}

function wrongCount(count: number, words: readonly string[]): string {
  const fields = "5 fields (minute hour day-of-month month weekday) or 6 with seconds first";
  const year =
    count === 7 && /^(\*|\d{4}.*)$/.test(words[6]!) ? "; a year is not one of them: use startDate and endDate" : "";
  return `a cron expression has ${fields}; this has ${count}${year}`;
}

/** What one field says. Only day fields have more than values. */
type Part = { values: readonly number[]; isWhole: boolean; hasStar: boolean; special: Special };
type Special = Pick<DayRule, "fromEnd" | "nearestWeekday" | "nth">;
type PartResult = { ok: true; part: Part } | { ok: false; message: string };

function parsePart(field: Field, text: string): PartResult {
  const items = text.split(",");
  const values = new Set<number>();
  const special = {
    fromEnd: [] as number[],
    nearestWeekday: undefined as number | "last" | undefined,
    nth: [] as DayRule["nth"][number][],
  };
  let isWhole = false;
  const all = items.length === 1 ? undefined : items.find((item) => item === "*" || item === "?");
  if (all !== undefined)
    return wrong(
      `the ${field.name} field has "${text.slice(0, 40)}": ${all} is all of them already; write it alone, or leave it out`,
    );
  for (const item of items) {
    if (readSpecial(field, item, special)) {
      if (special.nearestWeekday === undefined || items.length === 1) continue;
      return wrong(
        `the day of month field has "${text.slice(0, 40)}": W stands alone, as in 15W or LW; give the other days a schedule of their own`,
      );
    }
    const read = parseItem(field, item);
    if (!read.ok) return read;
    for (const value of read.item.values) values.add(value);
    isWhole ||= read.item.isWhole;
  }
  isWhole ||= values.size === field.max - field.min + 1;
  const part = { values: [...values].toSorted((a, b) => a - b), isWhole, hasStar: /[*?]/.test(text), special };
  return { ok: true, part };
}

type Found = { fromEnd: number[]; nearestWeekday: number | "last" | undefined; nth: { weekday: number; n: number }[] };

/** Takes `L`, `L-3`, `15W`, `LW`, `5L` and `1#2`, which only day fields have; cron-parser knows but some of them. */
function readSpecial(field: Field, item: string, found: Found): boolean {
  if (field.name === "day of month") return readDate(item, found);
  return field.name === "weekday" && readWeekday(field, item, found);
}

function readDate(item: string, found: Found): boolean {
  const [, back] = /^L(?:-([1-9]|[12]\d|30))?$/i.exec(item) ?? [item];
  if (/^L/i.test(item) && (back !== undefined || item.length === 1)) {
    found.fromEnd.push(Number(back ?? 0));
    return true;
  }
  const [, day] = /^(L|[1-9]|[12]\d|3[01])W$/i.exec(item) ?? [];
  if (day === undefined) return false;
  found.nearestWeekday = day.toUpperCase() === "L" ? "last" : Number(day);
  return true;
}

function readWeekday(field: Field, item: string, found: Found): boolean {
  const [, name, n] = /^(\w+?)(?:L|#([1-5]))$/i.exec(item) ?? [];
  const weekday = name === undefined ? undefined : valueOf(field, name);
  if (weekday === undefined || weekday > 7) return false;
  found.nth.push({ weekday: weekday % 7, n: Number(n ?? 0) });
  return true;
}

const bits = (values: readonly number[], size = 32): number =>
  values.reduce((set, value) => set | (1 << (value % size)), 0);

function cronOf(text: string, parts: readonly Part[]): Cron {
  const [second, minute, hour, date, month, weekday] = parts as [Part, Part, Part, Part, Part, Part];
  return {
    text,
    seconds: second.values,
    minutes: minute.values,
    hours: hour.values,
    days: {
      daysOfMonth: bits(date.values),
      fromEnd: date.special.fromEnd,
      nearestWeekday: date.special.nearestWeekday,
      weekdays: bits(weekday.values, WEEKDAYS.length),
      nth: weekday.special.nth,
      isBoth: date.hasStar || weekday.hasStar,
      months: bits(month.values),
    },
    isWildcard: minute.isWhole || hour.isWhole,
  };
}

/** The calendar repeats itself after so many years. */
const CYCLE = 400;

function checked(cron: Cron): CronResult {
  for (let month = 0; month < CYCLE * 12; month++) {
    if (daysOf(cron.days, 2_000 + Math.floor(month / 12), (month % 12) + 1) !== 0) return { ok: true, cron };
  }
  const [date, month, weekday] = cron.text.split(" ").slice(-3);
  return wrong(
    `it never fires: no year has a day of month "${date}" in month "${month}"${weekday === "*" || weekday === "?" ? "" : ` on weekday "${weekday}"`}`,
  );
}
