import { canonicalJson } from "../canonical.ts";
import { compact } from "../model/compact.ts";
import type { DagSpec } from "../model/dag.ts";
import type { ScheduleSpec } from "../model/schedule.ts";
import { type CompiledSchedule, compileSchedule, type ScheduleSettings } from "./compile.ts";
import type { CatchupLimit } from "./decide.ts";

/**
 * A schedule apart from its DAG: all that is needed to compute with it and to decide what becomes of what was missed.
 * Kept beside the schedule's position, so that firing need not read definitions, which may be large.
 */
export type ScheduleDefinition = Omit<ScheduleSettings, "dagId"> & { spec: ScheduleSpec; catchup: CatchupLimit };

/**
 * `key` is what makes a schedule the same one in the next version of its DAG: its expression or interval, its zone, and
 * which one it is of several that share these. Another calendar, blackout or jitter changes what it does from now on.
 */
export type DefinedSchedule = { key: string; ord: number; definition: ScheduleDefinition };

type Dag = Pick<DagSpec, "schedule" | "timezone" | "startDate" | "endDate" | "calendars" | "catchup">;

/** The schedules of a DAG, in the order of its definition. */
export function definedSchedules(dag: Dag): DefinedSchedule[] {
  const seen = new Map<string, number>();
  return dag.schedule.map((spec: ScheduleSpec, ord) => {
    const when = "cron" in spec ? { cron: spec.cron } : { every: spec.every, anchor: spec.anchor };
    const timing = canonicalJson(compact({ ...when, timezone: spec.timezone ?? dag.timezone }, {}));
    const nth = (seen.get(timing) ?? 0) + 1;
    seen.set(timing, nth);
    return { key: nth === 1 ? timing : `${timing} ${nth}`, ord, definition: definitionOf(spec, dag) };
  });
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
