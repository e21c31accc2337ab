import { DAY_MS } from "./zone.ts";

/** A day of a calendar: one date, counted in days since 1970, or a day of every year. */
export type CalendarDate =
  | { kind: "date"; day: number; name: string | undefined }
  | { kind: "yearly"; month: number; date: number; name: string | undefined };

const FORM = /^(?:(\d{4})-)?(\d\d)-(\d\d)(?: +(\S.*))?$/;

/** Reads `2026-12-24 Christmas Eve` or `12-25`; undefined when it is no such day. */
export function dateOfText(text: string): CalendarDate | undefined {
  const [, year, month, date, name] = FORM.exec(text.trim()) ?? [];
  if (month === undefined || date === undefined) return undefined;
  // A day of every year may be the 29th of February, so a leap year decides.
  const at = new Date(Date.UTC(Number(year ?? 2_000), Number(month) - 1, Number(date)));
  if (at.getUTCMonth() + 1 !== Number(month) || at.getUTCDate() !== Number(date)) return undefined;
  if (year === undefined) return { kind: "yearly", month: Number(month), date: Number(date), name };
  // Date.UTC takes 0 to 99 for 1900 to 1999.
  return Number(year) < 100 ? undefined : { kind: "date", day: at.getTime() / DAY_MS, name };
}

/** `2026-12-24` of a day counted since 1970. */
export function dayText(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
