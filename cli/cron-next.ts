import { Command } from "commander";
import type { Upcoming } from "#lib/domain/schedule/preview.ts";
import { type Asked, askedOrExit, type AskedOptions, clockText, parseCount, timeText } from "./cron-schedules.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";
import { parseTime } from "./run-arguments.ts";

type Options = AskedOptions & { count: number; json?: true };

/** `sluice cron next` */
export function nextCommand(): Command {
  return usageIsTrouble(new Command("next"))
    .description("When a schedule is due next, with what clock changes, calendars and blackouts do to it.")
    .argument("[expression]", `a cron expression in quotes, or an interval like 15m`)
    .option("--tz <zone>", "the IANA time zone it is meant in (default: UTC)")
    .option("--count <number>", "how many", parseCount, 10)
    .option("--from <time>", "after this instead of now, like 2026-03-28T00:00:00Z", parseTime)
    .option("--dag <file>", "the schedules of the DAG in this definition")
    .option("--json", "print {runs: [{due, at, logicalDate, interval, schedule, notes}]} as JSON")
    .addHelpText(
      "after",
      `
Exit code: 0 there is a next time, 1 there is none, 2 the expression, the zone or the definition is wrong.

Examples:
  $ sluice cron next "0 9 * * 1-5" --tz Europe/Berlin
  $ sluice cron next "30 2 * * *" --tz Europe/Berlin --from 2026-03-28 --count 3
  $ sluice cron next --dag dags/etl.yaml --json`,
    )
    .action(next);
}

async function next(when: string | undefined, options: Options): Promise<void> {
  const asked = await askedOrExit(when, options);
  if (asked === undefined) return;
  const { preview } = await import("#lib/domain/schedule/preview.ts");
  const from = options.from ?? new Date();
  const schedules = asked.schedules.map(({ schedule }) => schedule);
  const runs = preview(schedules, from, options.count);
  if (runs.length === 0) process.exitCode = EXIT.no;
  if (options.json)
    return printJson({ runs: runs.map((run) => ({ ...run, schedule: asked.schedules[run.schedule]!.text })) });
  if (runs.length === 0) return printLine(`${asked.title} is never due after ${timeText(from)} UTC`);
  for (const line of runLines(asked, runs)) printLine(line);
}

type Column = [heading: string, cell: (run: Upcoming) => string];

/** Columns that say nothing are left out. */
export function runLines({ schedules }: Asked, runs: readonly Upcoming[]): string[] {
  const scheduleOf = (run: Upcoming): Asked["schedules"][number] => schedules[run.schedule]!;
  const zones = new Set(schedules.map(({ schedule }) => schedule.parts.zone.name));
  const columns: Column[] = [
    [`due in ${[...zones].join(", ")}`, (run) => clockText(scheduleOf(run).schedule, run.due)],
  ];
  if ([...zones].some((zone) => zone !== "UTC")) columns.push(["UTC", ({ due }) => timeText(due)]);
  if (runs.some(({ due, at }) => at > due)) columns.push(["starts (UTC)", ({ at }) => timeText(at)]);
  if (schedules.length > 1) columns.push(["schedule", (run) => scheduleOf(run).text]);
  columns.push(["notes", ({ notes }) => notes.map(({ text }) => text).join("; ")]);
  return table(
    columns.map(([heading]) => heading),
    runs.map((run) => columns.map(([, cell]) => cell(run))),
  );
}
