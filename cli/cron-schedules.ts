import { InvalidArgumentError } from "commander";
import type { ScheduleSpec } from "#lib/domain/model/schedule.ts";
import type { CompiledSchedule } from "#lib/domain/schedule/compile.ts";
import { trouble } from "./exit.ts";
import { readDagOrExit } from "./read-dag.ts";

/** What `sluice cron` commands are asked about: an expression, or the schedules of a DAG. */
export type Asked = { title: string; schedules: { text: string; spec: ScheduleSpec; schedule: CompiledSchedule }[] };

export type AskedOptions = { tz?: string; dag?: string; from?: Date };

/**
 * The schedules that the arguments mean. Wrong arguments end the process; mistakes in a definition are told, the exit
 * code is set and the answer is undefined.
 */
export async function askedOrExit(when: string | undefined, { tz, dag }: AskedOptions): Promise<Asked | undefined> {
  if (dag !== undefined) {
    if (when !== undefined || tz !== undefined)
      return trouble("--dag has its own schedules and time zone: leave out the expression and --tz, or --dag");
    return ofDag(dag);
  }
  if (when === undefined)
    return trouble('give a cron expression like "0 9 * * 1-5", an interval like 15m, or --dag with a definition');
  const { compileSchedule } = await import("#lib/domain/schedule/compile.ts");
  const [spec, timezone] = await Promise.all([specOrExit(when), zoneOrExit(tz ?? "UTC")]);
  const schedule = compileSchedule(spec, { dagId: "", timezone, calendars: {} });
  return { title: when, schedules: [{ text: when, spec, schedule }] };
}

async function specOrExit(when: string): Promise<ScheduleSpec> {
  const [{ parseCron }, { formatDuration, parseDuration }] = await Promise.all([
    import("#lib/domain/schedule/cron/parse-cron.ts"),
    import("#lib/domain/model/duration.ts"),
  ]);
  const every = parseDuration(when.trim());
  if (every !== undefined)
    return every >= 1_000 ? { every: formatDuration(every) } : trouble(`${when}: an interval has at least 1s`);
  const cron = parseCron(when);
  return cron.ok ? { cron: when } : trouble(`"${when}": ${cron.message}`);
}

async function zoneOrExit(name: string): Promise<string> {
  const { zoneProblem } = await import("#lib/domain/schedule/zone-name.ts");
  const problem = zoneProblem(name);
  return problem === undefined ? name : trouble(`--tz ${problem}`);
}

async function ofDag(file: string): Promise<Asked | undefined> {
  const read = await readDagOrExit(file);
  if (read === undefined) return undefined;
  const { spec } = read.dag;
  if (spec.schedule.length === 0) return trouble(`the DAG "${spec.id}" has no schedule`);
  const [{ compileSchedules }, { expressionOf }] = await Promise.all([
    import("#lib/domain/schedule/compile.ts"),
    import("#lib/domain/schedule/words.ts"),
  ]);
  const compiled = compileSchedules(spec);
  const schedules = spec.schedule.map((one, index) => ({
    text: expressionOf(one),
    spec: one,
    schedule: compiled[index]!,
  }));
  return { title: spec.id, schedules };
}

export function parseCount(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= 1_000) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 to 1000.");
}

/** What clocks of the schedule's zone show: `Mon 2026-03-30 09:00 +02:00`. */
export function clockText({ parts: { zone } }: CompiledSchedule, at: Date): string {
  const offset = zone.offsetAt(at.getTime());
  const shown = new Date(at.getTime() + offset);
  const weekday = shown.toLocaleDateString("en-US", { weekday: "short", timeZone: "UTC" });
  const size = Math.abs(offset / 60_000);
  const [hours, minutes] = [Math.floor(size / 60), Math.round(size % 60)].map((part) => String(part).padStart(2, "0"));
  return `${weekday} ${timeText(shown)} ${offset < 0 ? "-" : "+"}${hours}:${minutes}`;
}

/** `2026-03-30 07:00`, with seconds where there are some. */
export function timeText(at: Date): string {
  const iso = at.toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, iso.slice(16, 19) === ":00" ? 16 : 19)}`;
}
