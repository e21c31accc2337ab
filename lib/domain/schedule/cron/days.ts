import { DAY_MS } from "../zone.ts";

/** Days are counted from 1970-01-01, which is day 0. */
export type DaySet = {
  /** The first day of the set that is `day` or later; undefined when there is none within sixty years. */
  next(day: number): number | undefined;
  prev(day: number): number | undefined;
  has(day: number): boolean;
};

/**
 * The fifth Monday of a February comes every 28 years, and every 40 around a year like 2100. What is rarer than that does
 * not count as coming.
 */
const HORIZON_MONTHS = 60 * 12;

/** Masks are cheap to make and asked for again and again. */
const MAX_KEPT = 1_024;

/** The set of days whose months look so: bit n of `maskOf(year, month)` is the n-th day of the month (from 1). */
export function monthlyDays(maskOf: (year: number, month: number) => number): DaySet {
  const kept = new Map<number, number>();
  const maskAt = (index: number): number => {
    const known = kept.get(index);
    if (known !== undefined) return known;
    if (kept.size >= MAX_KEPT) kept.clear();
    const mask = maskOf(Math.floor(index / 12), (index % 12) + 1);
    kept.set(index, mask);
    return mask;
  };

  return {
    next(day) {
      const { index, date } = dateOf(day);
      // The bits below `date` are cleared.
      let mask = maskAt(index) & -(2 ** date);
      for (let month = index; ; mask = maskAt(++month)) {
        if (mask !== 0) return firstDayOf(month) + lowestBit(mask) - 1;
        if (month > index + HORIZON_MONTHS) return undefined;
      }
    },
    prev(day) {
      const { index, date } = dateOf(day);
      let mask = maskAt(index) & (2 ** (date + 1) - 1);
      for (let month = index; ; mask = maskAt(--month)) {
        if (mask !== 0) return firstDayOf(month) + highestBit(mask) - 1;
        if (month < index - HORIZON_MONTHS) return undefined;
      }
    },
    has(day) {
      const { index, date } = dateOf(day);
      return (maskAt(index) & (1 << date)) !== 0;
    },
  };
}

const lowestBit = (mask: number): number => 31 - Math.clz32(mask & -mask);
const highestBit = (mask: number): number => 31 - Math.clz32(mask);

function dateOf(day: number): { index: number; date: number } {
  const at = new Date(day * DAY_MS);
  return { index: at.getUTCFullYear() * 12 + at.getUTCMonth(), date: at.getUTCDate() };
}

function firstDayOf(index: number): number {
  return Date.UTC(Math.floor(index / 12), index % 12, 1) / DAY_MS;
}
