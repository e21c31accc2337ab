import type { RunTimes } from "../run-times.ts";
import type { CompiledSchedule, Fire } from "./compile.ts";

/**
 * What a run is about that somebody starts by hand or through the API; the same as in Airflow, whose timetables have
 * `infer_manual_data_interval` for it. Without a logical date it is about the last interval of the DAG's schedules that is
 * over `now`: of several, the one that ended last. With a logical date it is about the interval that begins there. Where
 * there is no such interval, it is about no time.
 */
export function manualTimes(
  schedules: readonly CompiledSchedule[],
  { logicalDate, now }: { logicalDate: Date | undefined; now: Date },
): RunTimes {
  const about = logicalDate === undefined ? lastOver(schedules, now) : beginningAt(schedules, logicalDate);
  const moment = logicalDate ?? now;
  return {
    logicalDate: moment,
    intervalStart: about?.interval.start ?? moment,
    intervalEnd: about?.interval.end ?? moment,
  };
}

/** Of those that end at the same instant, that of the first schedule in the definition. */
function lastOver(schedules: readonly CompiledSchedule[], now: Date): Fire | undefined {
  let last: Fire | undefined;
  for (const schedule of schedules) {
    // What is due at this very instant is over.
    const fire = schedule.prev(new Date(now.getTime() + 1));
    if (fire !== undefined && (last === undefined || fire.due > last.due)) last = fire;
  }
  return last;
}

function beginningAt(schedules: readonly CompiledSchedule[], start: Date): Fire | undefined {
  for (const schedule of schedules) {
    const fire = schedule.next(start);
    if (fire?.interval.start.getTime() === start.getTime()) return fire;
  }
  return undefined;
}
