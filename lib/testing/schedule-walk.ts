import { daysOf } from "../domain/schedule/cron/cron-days.ts";
import { cronSeries } from "../domain/schedule/cron/cron-series.ts";
import { monthlyDays } from "../domain/schedule/cron/days.ts";
import { localTimes } from "../domain/schedule/cron/local-times.ts";
import { type Cron, parseCron } from "../domain/schedule/cron/parse-cron.ts";
import type { Series } from "../domain/schedule/series.ts";
import { zoneOf } from "../domain/schedule/zone.ts";

/** Instants of a series in whole minutes since 1970, as tests compare them. */

const MINUTE = 60_000;

export function cronOf(text: string): Cron {
  const read = parseCron(text);
  if (!read.ok) throw new Error(`${text}: ${read.message}`);
  return read.cron;
}

export function seriesOf(text: string, zone: string): Series {
  const cron = cronOf(text);
  const days = monthlyDays((year, month) => daysOf(cron.days, year, month));
  return cronSeries(localTimes(cron, days), zoneOf(zone), cron.isWildcard);
}

/** All of [from, to), by `next`. A series that stands still would never come to an end: it is an error. */
export function forwards(series: Series, from: number, to: number): number[] {
  const due: number[] = [];
  let last = from * MINUTE - 1;
  for (let at = series.next(last); at !== undefined && at < to * MINUTE; at = series.next(at)) {
    if (at <= last) throw new Error(`next(${last}) is ${at}`);
    due.push(at / MINUTE);
    last = at;
  }
  return due;
}

/** The same, by `prev`. */
export function backwards(series: Series, from: number, to: number): number[] {
  const due: number[] = [];
  let last = to * MINUTE;
  for (let at = series.prev(last); at !== undefined && at >= from * MINUTE; at = series.prev(at)) {
    if (at >= last) throw new Error(`prev(${last}) is ${at}`);
    due.push(at / MINUTE);
    last = at;
  }
  return due.reverse();
}
