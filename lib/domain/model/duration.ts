import { z } from "zod";

/** Units from long to short, in milliseconds. A day is 24 hours: durations know no calendar. */
const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

const SHORT = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d{1,3})?)s)?(?:(\d+)ms)?$/;
/** ISO 8601 without years and months, which have no fixed length. */
const ISO = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,3})?)S)?)?$/;

/** Ten years: longer is a mistake, and far inside what a bigint of milliseconds holds. */
const MAX_MS = 3_650 * 86_400_000;

/** Milliseconds of `30s`, `5m`, `1h30m`, `250ms` or ISO 8601 `PT1H30M`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const short = SHORT.exec(text);
  const iso = ISO.exec(text);
  const parts = short?.slice(1) ?? (iso === null ? undefined : inShortOrder(iso.slice(1)));
  if (parts === undefined || parts.every((part) => part === undefined)) return undefined;
  const ms = UNITS.reduce((sum, [, unit], index) => sum + Math.round(Number(parts[index] ?? 0) * unit), 0);
  return ms <= MAX_MS ? ms : undefined;
}

function inShortOrder([weeks, days, hours, minutes, seconds]: (string | undefined)[]): (string | undefined)[] {
  const allDays = weeks === undefined ? days : String(Number(weeks) * 7 + Number(days ?? 0));
  return [allDays, hours, minutes, seconds, undefined];
}

/** The one way a duration is written in the model: `5400000` is `1h30m`. Expects whole milliseconds, not negative. */
export function formatDuration(ms: number): string {
  let rest = ms;
  const parts = UNITS.flatMap(([name, unit]) => {
    const count = Math.floor(rest / unit);
    rest -= count * unit;
    return count === 0 ? [] : [`${count}${name}`];
  });
  return parts.join("") || "0s";
}

/** Milliseconds of a duration from the model, which is known to be one. */
export function durationMs(duration: string): number {
  const ms = parseDuration(duration);
  if (ms === undefined) throw new Error(`not a duration: ${duration}`);
  return ms;
}

const EXAMPLES = "a duration like 30s, 5m, 1h30m, 250ms or ISO 8601 PT1H30M, at most 3650d";

/** A duration of at least `min` milliseconds, kept in its one form. */
export const Duration = (min = 1) =>
  z
    .string()
    .refine((text) => (parseDuration(text) ?? -1) >= min, {
      message: min <= 1 ? `must be ${EXAMPLES}` : `must be ${EXAMPLES}, and at least ${formatDuration(min)}`,
      abort: true,
    })
    .overwrite((text) => {
      const ms = parseDuration(text);
      return ms === undefined ? text : formatDuration(ms);
    });
