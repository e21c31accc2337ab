import { DAY_MS, placeOf, zoneOf } from "../schedule/zone.ts";

/** Logical dates from `start` to `end`, both included. */
export type Range = { start: Date; end: Date };

export type RangeResult = { ok: true; range: Range } | { ok: false; problem: string };

const FORM = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * The range between two texts. Each is a date or a time; what names no offset is meant in `timezone`. A date as the end is that
 * whole day, also where clocks make it longer or shorter.
 */
export function rangeOf(start: string, end: string, timezone: string): RangeResult {
  const from = instantsOf(start, timezone);
  if (from === undefined) return { ok: false, problem: `start ${notATime(start)}` };
  const to = instantsOf(end, timezone);
  if (to === undefined) return { ok: false, problem: `end ${notATime(end)}` };
  if (from.first > to.last) return { ok: false, problem: `the start ${start} is after the end ${end}` };
  return { ok: true, range: { start: new Date(from.first), end: new Date(to.last) } };
}

function notATime(text: string): string {
  return `"${text}" is no date or time: it should look like 2026-01-31, 2026-01-31T06:00 or 2026-01-31T06:00:00Z`;
}

/** The first and the last instant that a text means. */
function instantsOf(text: string, timezone: string): { first: number; last: number } | undefined {
  const match = FORM.exec(text.trim());
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second = "0", fraction = "0", offset] = match;
  const date = Date.UTC(Number(year), Number(month) - 1, Number(day));
  // A year below 100 and the 31st of a shorter month come back as something else.
  if (new Date(date).toISOString().slice(0, 10) !== `${year}-${month}-${day}`) return undefined;
  const zone = zoneOf(timezone);
  if (hour === undefined) return { first: placeOf(zone, date).first, last: placeOf(zone, date + DAY_MS).first - 1 };
  const [h, m, s] = [Number(hour), Number(minute), Number(second)];
  if (h > 23 || m > 59 || s > 59) return undefined;
  const local = date + ((h * 60 + m) * 60 + s) * 1_000 + Number(fraction.padEnd(3, "0"));
  const at = offset === undefined ? placeOf(zone, local) : undefined;
  if (at !== undefined) return { first: at.first, last: at.last };
  const instant = local - offsetMs(offset!);
  return { first: instant, last: instant };
}

function offsetMs(offset: string): number {
  if (offset === "Z") return 0;
  const size = (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4))) * 60_000;
  return offset.startsWith("-") ? -size : size;
}
