import type { DaySet } from "./days.ts";
import { DAY_MS } from "../zone.ts";

/** Points in local time that match, without a zone. */
export type LocalTimes = {
  /** The first one at `local` or later. */
  next(local: number): number | undefined;
  /** The last one before `local`. */
  before(local: number): number | undefined;
};

type Clock = { seconds: readonly number[]; minutes: readonly number[]; hours: readonly number[] };

/** Every match of the clock's fields (sorted, none of them empty) on every day of the set. */
export function localTimes({ seconds, minutes, hours }: Clock, days: DaySet): LocalTimes {
  const times = hours.flatMap((hour) => minutes.map((minute) => hour * 60 + minute));
  const [firstSecond, lastSecond] = [seconds[0]!, seconds.at(-1)!];
  const first = (times[0]! * 60 + firstSecond) * 1_000;
  const last = (times.at(-1)! * 60 + lastSecond) * 1_000;

  /** The first second of the day from `from` on. */
  const nextOfDay = (from: number): number | undefined => {
    const minute = Math.floor(from / 60);
    let index = firstFrom(times, minute);
    if (times[index] === minute) {
      const second = seconds.find((one) => one >= from % 60);
      if (second !== undefined) return minute * 60 + second;
      index++;
    }
    return times[index] === undefined ? undefined : times[index]! * 60 + firstSecond;
  };

  /** The last second of the day up to `to`. */
  const lastOfDay = (to: number): number | undefined => {
    const minute = Math.floor(to / 60);
    const index = firstFrom(times, minute);
    if (times[index] === minute) {
      const second = seconds.findLast((one) => one <= to % 60);
      if (second !== undefined) return minute * 60 + second;
    }
    return index === 0 ? undefined : times[index - 1]! * 60 + lastSecond;
  };

  return {
    next(local) {
      const from = Math.floor(local / DAY_MS);
      const day = days.next(from);
      if (day === undefined) return undefined;
      if (day !== from) return day * DAY_MS + first;
      const second = nextOfDay(Math.ceil((local - day * DAY_MS) / 1_000));
      if (second !== undefined) return day * DAY_MS + second * 1_000;
      const later = days.next(day + 1);
      return later === undefined ? undefined : later * DAY_MS + first;
    },
    before(local) {
      const from = Math.floor(local / DAY_MS);
      const day = days.prev(from);
      if (day === undefined) return undefined;
      if (day !== from) return day * DAY_MS + last;
      const to = Math.ceil((local - day * DAY_MS) / 1_000) - 1;
      const second = to < 0 ? undefined : lastOfDay(to);
      if (second !== undefined) return day * DAY_MS + second * 1_000;
      const earlier = days.prev(day - 1);
      return earlier === undefined ? undefined : earlier * DAY_MS + last;
    },
  };
}

/** Index of the first element that is `value` or more. */
function firstFrom(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
