import type { Calendar } from "../model/calendar.ts";
import type { ScheduleSpec } from "../model/schedule.ts";
import { nearestName } from "../nearest.ts";
import { calendarNames, calendarOf } from "./calendar.ts";
import { type CompiledSchedule, compileSchedule } from "./compile.ts";
import { parseCron } from "./cron/parse-cron.ts";
import { zoneProblem } from "./zone-name.ts";

/** What is wrong with schedules that are each well written: names that do not exist, and times that never come. */

type Dag = {
  id: string;
  timezone: string;
  startDate?: string | undefined;
  endDate?: string | undefined;
  calendars: Readonly<Record<string, Calendar>>;
  schedule: readonly ScheduleSpec[];
};

export type ScheduleProblem = { path: (string | number)[]; message: string };

/** To find that a schedule has no next time takes the longest search there is: a file may not ask for many. */
const MAX_NEVER = 3;

export function scheduleProblems(dag: Dag): ScheduleProblem[] {
  let never = 0;
  return dag.schedule.flatMap((spec, index) => {
    const problems = [...unknownCalendars(spec, dag.calendars), ...misplacedShift(spec)];
    if (problems.length === 0 && never < MAX_NEVER && isReadable(spec, dag)) {
      problems.push(...neverFires(spec, dag));
      never += problems.length;
    }
    return problems.map(({ path, message }) => ({ path: ["schedule", index, ...path], message }));
  });
}

/** What is not has been told already, by its own schema. */
function isReadable(spec: ScheduleSpec, { timezone }: Dag): boolean {
  return (!("cron" in spec) || parseCron(spec.cron).ok) && zoneProblem(spec.timezone ?? timezone) === undefined;
}

function unknownCalendars({ calendar }: ScheduleSpec, calendars: Dag["calendars"]): ScheduleProblem[] {
  return (["only", "except"] as const).flatMap((key) =>
    (calendar?.[key] ?? []).flatMap((name, index) => {
      if (calendarOf(calendars, name) !== undefined) return [];
      const known = calendarNames(calendars);
      const near = nearestName(name, known);
      const hint =
        near === undefined ? `there are ${known.join(", ")}; others go under calendars` : `did you mean "${near}"?`;
      return [{ path: ["calendar", key, index], message: `there is no calendar "${name}"; ${hint}` }];
    }),
  );
}

function misplacedShift(spec: ScheduleSpec): ScheduleProblem[] {
  if ("cron" in spec || spec.calendar?.shift === undefined) return [];
  return [
    {
      path: ["calendar", "shift"],
      message: "an interval has no days that could be moved; write a cron expression, or leave shift out",
    },
  ];
}

function neverFires(spec: ScheduleSpec, dag: Dag): ScheduleProblem[] {
  const endless = compileSchedule(spec, { ...dag, dagId: dag.id, startDate: undefined, endDate: undefined });
  const from = new Date((dag.startDate === undefined ? Date.UTC(2000, 0, 1) : Date.parse(dag.startDate)) - 1);
  const fire = endless.next(from);
  if (fire === undefined) return [whyNever(spec, endless, from)];
  if (dag.endDate === undefined || fire.due.getTime() <= Date.parse(dag.endDate)) return [];
  const message = `it never fires: its first time after startDate is ${fire.due.toISOString()}, which is after endDate`;
  return dag.startDate === undefined ? [] : [{ path: [], message }];
}

function whyNever(spec: ScheduleSpec, { parts }: CompiledSchedule, from: Date): ScheduleProblem {
  if (parts.onDays.next(from.getTime()) === undefined)
    return {
      path: ["calendar"],
      message: "it never fires: its calendars leave out every day on which it would be due",
    };
  return { path: ["blackout"], message: "it never fires: every time at which it would be due is in its blackout" };
}
