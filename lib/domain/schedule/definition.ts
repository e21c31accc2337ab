import { canonicalJson } from "../canonical.ts";
import { durationMs } from "../model/duration.ts";
import { compact } from "../model/compact.ts";
import type { DagSpec } from "../model/dag.ts";
import type { ScheduleSpec } from "../model/schedule.ts";
import { type CompiledSchedule, compileSchedule, type ScheduleSettings } from "./compile.ts";
import { parseCron } from "./cron/parse-cron.ts";
import type { CatchupLimit } from "./decide.ts";

/**
 * A schedule apart from its DAG: all that is needed to compute with it and to decide what becomes of what was missed.
 * Kept beside the schedule's position, so that firing need not read definitions, which may be large.
 */
export type ScheduleDefinition = Omit<ScheduleSettings, "dagId"> & { spec: ScheduleSpec; catchup: CatchupLimit };

/** `timing` is its expression or interval, and its zone, however they are written. */
export type DefinedSchedule = { timing: string; ord: number; definition: ScheduleDefinition };

type Dag = Pick<DagSpec, "schedule" | "timezone" | "startDate" | "endDate" | "calendars" | "catchup">;

/** The schedules of a DAG, in the order of its definition. */
export function definedSchedules(dag: Dag): DefinedSchedule[] {
  return dag.schedule.map((spec: ScheduleSpec, ord) => {
    const timezone = spec.timezone ?? dag.timezone;
    return { timing: canonicalJson({ ...timingOf(spec), timezone }), ord, definition: definitionOf(spec, dag) };
  });
}

function timingOf(spec: ScheduleSpec): { [key: string]: string | number } {
  if ("every" in spec)
    return { everyMs: durationMs(spec.every), ...(spec.anchor === undefined ? {} : { anchor: spec.anchor }) };
  const read = parseCron(spec.cron);
  return { cron: read.ok ? read.cron.text : spec.cron };
}

/** A schedule that a DAG has, or had in an earlier version. */
export type KnownSchedule = { id: string; timing: string; definition: ScheduleDefinition; isDefined: boolean };

/**
 * Which of the schedules that are known each of the new ones is: one of the same times that says the same, or else the first
 * of the same times, those of the version before first. So another calendar, blackout or jitter changes what a schedule does from
 * now on, and it may stand in another place. Undefined for one that is new.
 */
export function matchSchedules(
  schedules: readonly DefinedSchedule[],
  known: readonly KnownSchedule[],
): Map<DefinedSchedule, KnownSchedule> {
  const matches = new Map<DefinedSchedule, KnownSchedule>();
  const taken = new Set<KnownSchedule>();
  const match = (isSame: (one: DefinedSchedule, other: KnownSchedule) => boolean): void => {
    for (const one of schedules) {
      if (matches.has(one)) continue;
      const found = known.find((other) => !taken.has(other) && other.timing === one.timing && isSame(one, other));
      if (found === undefined) continue;
      matches.set(one, found);
      taken.add(found);
    }
  };
  const specText = ({ definition }: { definition: ScheduleDefinition }): string =>
    canonicalJson(compact(definition.spec, {}));
  match((one, other) => other.isDefined && specText(one) === specText(other));
  match((_, other) => other.isDefined);
  match((one, other) => specText(one) === specText(other));
  match(() => true);
  return matches;
}

function definitionOf(spec: ScheduleSpec, dag: Dag): ScheduleDefinition {
  const used = new Set([...(spec.calendar?.only ?? []), ...(spec.calendar?.except ?? [])]);
  return {
    spec,
    timezone: spec.timezone ?? dag.timezone,
    startDate: dag.startDate,
    endDate: dag.endDate,
    calendars: Object.fromEntries(Object.entries(dag.calendars).filter(([name]) => used.has(name))),
    catchup: catchupLimit(dag.catchup),
  };
}

function catchupLimit(catchup: Dag["catchup"]): CatchupLimit {
  const { policy, max = DEFAULT_MAX } = typeof catchup === "string" ? { policy: catchup } : catchup;
  return policy === "all" ? { all: max } : policy;
}

/** So many missed runs of a schedule are made up for under `all`. */
const DEFAULT_MAX = 1_000;

/** What the database keeps. */
export function definitionText(definition: ScheduleDefinition): string {
  return canonicalJson(compact(definition, {}));
}

export function compileDefinition(dagId: string, definition: ScheduleDefinition): CompiledSchedule {
  return compileSchedule(definition.spec, { ...definition, dagId });
}
