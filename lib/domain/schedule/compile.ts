import { durationMs } from "../model/duration.ts";
import type { Calendar } from "../model/calendar.ts";
import type { ScheduleSpec } from "../model/schedule.ts";
import { dayGate, type DayGate, type GatedDays, gatedDays } from "./calendar.ts";
import { daysOf } from "./cron/cron-days.ts";
import { cronSeries } from "./cron/cron-series.ts";
import { type DaySet, monthlyDays } from "./cron/days.ts";
import { jitterMs, jitterShare } from "./jitter.ts";
import { type LocalTimes, localTimes } from "./cron/local-times.ts";
import { type Cron, parseCron } from "./cron/parse-cron.ts";
import { blackoutRegions, closedDays, type Regions } from "./regions.ts";
import { intervalSeries, type Series } from "./series.ts";
import { type Zone, zoneOf } from "./zone.ts";

/** What a schedule needs to know of its DAG. A `DagSpec` has all but `dagId`. */
export type ScheduleSettings = {
  dagId: string;
  timezone: string;
  startDate?: string | undefined;
  endDate?: string | undefined;
  calendars: Readonly<Record<string, Calendar>>;
};

/**
 * One run that is due. `due` is its place in the schedule: rising from one to the next, and what a scheduler remembers
 * as its position. `at` is when the run starts: `due`, later by a blackout or jitter, and never earlier than that of the one
 * before. As in Airflow a run is about the time since the one before: `interval`, whose start is `logicalDate`. Intervals
 * lie side by side: what a holiday or a blackout leaves out is in the interval of the next run.
 */
export type Fire = { due: Date; at: Date; logicalDate: Date; interval: { start: Date; end: Date } };

export type CompiledSchedule = {
  /** The first one due after `after`, within the DAG's dates. */
  next(after: Date): Fire | undefined;
  /** The last one due before `before`, within the DAG's dates. */
  prev(before: Date): Fire | undefined;
  /** Those due after `from`, up to and with `to`, made one by one as they are asked for. */
  between(from: Date, to: Date): Generator<Fire, void, undefined>;
  /** What the schedule is made of, for what tells about it. */
  parts: Parts;
};

/** The steps from what is written to when a run starts; each is left out where nothing asks for it. */
export type Parts = {
  zone: Zone;
  cron: { cron: Cron; plainDays: DaySet; times: LocalTimes; days: GatedDays | undefined } | undefined;
  /** Before calendars and blackouts. */
  plain: Series;
  /** After calendars. */
  onDays: Series;
  /** After blackouts: the instants that are `due`. */
  kept: Series;
  isClosedDay: DayGate | undefined;
  shift: "next" | "previous" | undefined;
  blackout: { regions: Regions; action: "skip" | "delay" | "once" } | undefined;
};

/** Makes a schedule of a valid spec computable. Throws for one that is not valid, which is a bug of the caller. */
export function compileSchedule(spec: ScheduleSpec, settings: ScheduleSettings): CompiledSchedule {
  const parts = partsOf(spec, settings);
  const { kept } = parts;
  const first = settings.startDate === undefined ? -Infinity : Date.parse(settings.startDate);
  const last = settings.endDate === undefined ? Infinity : Date.parse(settings.endDate);
  const startOf = starter(spec, settings.dagId, parts);

  const fire = (due: number, before: number | undefined): Fire => {
    const logicalDate = new Date(before ?? due);
    const end = new Date(due);
    return { due: end, at: new Date(startOf(due)), logicalDate, interval: { start: logicalDate, end } };
  };
  const nextDue = (after: number): number | undefined => {
    const due = kept.next(Math.max(after, first - 1));
    return due === undefined || due > last ? undefined : due;
  };

  return {
    parts,
    next(after) {
      const due = nextDue(after.getTime());
      return due === undefined ? undefined : fire(due, kept.prev(due));
    },
    prev(before) {
      const due = kept.prev(Math.min(before.getTime(), last + 1));
      return due === undefined || due < first ? undefined : fire(due, kept.prev(due));
    },
    *between(from, to) {
      let due = nextDue(from.getTime());
      let before = due === undefined ? undefined : kept.prev(due);
      while (due !== undefined && due <= to.getTime()) {
        yield fire(due, before);
        before = due;
        due = nextDue(due);
      }
    },
  };
}

/** Every schedule of a DAG, in the order of its definition. */
export function compileSchedules(
  dag: Omit<ScheduleSettings, "dagId"> & { id: string; schedule: readonly ScheduleSpec[] },
): CompiledSchedule[] {
  return dag.schedule.map((spec) => compileSchedule(spec, { ...dag, dagId: dag.id }));
}

function partsOf(spec: ScheduleSpec, settings: ScheduleSettings): Parts {
  const zone = zoneOf(spec.timezone ?? settings.timezone);
  const isClosedDay = spec.calendar === undefined ? undefined : dayGate(spec.calendar, settings.calendars);
  const cron = "cron" in spec ? cronParts(spec.cron, isClosedDay, spec.calendar?.shift) : undefined;
  const plain = "cron" in spec ? cronSeries(cron!.plainTimes, zone, cron!.cron.isWildcard) : everySeries(spec);
  const onDays =
    isClosedDay === undefined
      ? plain
      : cron === undefined
        ? outside(plain, closedDays(isClosedDay, zone))
        : cronSeries(cron.times, zone, cron.cron.isWildcard);
  const blackout =
    spec.blackout === undefined
      ? undefined
      : { regions: blackoutRegions(spec.blackout.windows, zone), action: spec.blackout.action ?? "skip" };
  const kept = keptOf(onDays, blackout);
  return { zone, cron, plain, onDays, kept, isClosedDay, shift: spec.calendar?.shift, blackout };
}

function everySeries({ every, anchor }: { every: string; anchor?: string | undefined }): Series {
  return intervalSeries(durationMs(every), anchor === undefined ? 0 : Date.parse(anchor));
}

type CronParts = NonNullable<Parts["cron"]> & { plainTimes: LocalTimes };

function cronParts(text: string, isClosedDay: DayGate | undefined, shift: "next" | "previous" | undefined): CronParts {
  const read = parseCron(text);
  if (!read.ok) throw new Error(`not a cron expression: ${read.message}`);
  const { cron } = read;
  const plainDays = monthlyDays((year, month) => daysOf(cron.days, year, month));
  const plainTimes = localTimes(cron, plainDays);
  if (isClosedDay === undefined) return { cron, plainDays, times: plainTimes, days: undefined, plainTimes };
  const days = gatedDays(plainDays, isClosedDay, shift);
  return { cron, plainDays, times: localTimes(cron, days), days, plainTimes };
}

function keptOf(series: Series, blackout: Parts["blackout"]): Series {
  if (blackout === undefined) return series;
  if (blackout.action === "delay") return ending(series, blackout.regions);
  return blackout.action === "skip" ? outside(series, blackout.regions) : lastOfEach(series, blackout.regions);
}

/** All instants of a series, as long as those that are closed have an end to wait for. */
function ending(series: Series, regions: Regions): Series {
  const unlessEndless = (at: number | undefined): number | undefined =>
    at === undefined || regions.endOf(at) === Infinity ? undefined : at;
  return { next: (after) => unlessEndless(series.next(after)), prev: (before) => unlessEndless(series.prev(before)) };
}

/** So many closed stretches are left one after another before a search counts as finding nothing: a year of days. */
const MAX_STRETCHES = 400;

/** The instants of a series that are not closed. */
function outside(series: Series, regions: Regions): Series {
  return {
    next(after) {
      for (let step = 0, from = after; step < MAX_STRETCHES; step++) {
        const at = series.next(from);
        if (at === undefined || !regions.isClosed(at)) return at;
        from = regions.endOf(at) - 1;
      }
      return undefined;
    },
    prev(before) {
      for (let step = 0, to = before; step < MAX_STRETCHES; step++) {
        const at = series.prev(to);
        if (at === undefined || !regions.isClosed(at)) return at;
        to = regions.startOf(at);
      }
      return undefined;
    },
  };
}

/** The instants that are not closed, and the last one of each closed stretch that has some and an end. */
function lastOfEach(series: Series, regions: Regions): Series {
  const lastIn = (at: number): number | undefined => {
    const end = regions.endOf(at);
    return end === Infinity ? undefined : series.prev(end);
  };
  return {
    next(after) {
      const at = series.next(after);
      return at === undefined || !regions.isClosed(at) ? at : lastIn(at);
    },
    prev(before) {
      for (let step = 0, to = before; step < MAX_STRETCHES; step++) {
        const at = series.prev(to);
        if (at === undefined || !regions.isClosed(at)) return at;
        const last = lastIn(at);
        if (last !== undefined && last < before) return last;
        to = regions.startOf(at);
      }
      return undefined;
    },
  };
}

/** When a run starts that is due at an instant. */
function starter(spec: ScheduleSpec, dagId: string, { onDays, blackout }: Parts): (due: number) => number {
  const jitter = spec.jitter === undefined ? 0 : durationMs(spec.jitter);
  return (due) => {
    const begin = blackout === undefined ? due : blackout.regions.endOf(due);
    if (jitter === 0) return begin;
    const room = (onDays.next(begin) ?? Infinity) - begin;
    // Those that wait for the end of one blackout have the same jitter, so that their order stays.
    const at = begin + jitterMs(jitterShare(dagId, begin), jitter, room);
    return blackout?.regions.isClosed(at) === true ? begin : at;
  };
}
