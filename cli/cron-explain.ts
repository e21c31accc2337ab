import { Command } from "commander";
import type { ClockChange } from "#lib/domain/schedule/clock-changes.ts";
import type { Words } from "#lib/domain/schedule/words.ts";
import { askedOrExit, type AskedOptions } from "./cron-schedules.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";
import { parseTime } from "./run-arguments.ts";

type Options = AskedOptions & { json?: true };

/** `sluice cron explain` */
export function explainCommand(): Command {
  return usageIsTrouble(new Command("explain"))
    .description("What a schedule says in words, and what the next clock changes do to it.")
    .argument("[expression]", "a cron expression in quotes, or an interval like 15m")
    .option("--tz <zone>", "the IANA time zone it is meant in (default: UTC)")
    .option("--from <time>", "clock changes after this instead of now", parseTime)
    .option("--dag <file>", "the schedules of the DAG in this definition")
    .option("--json", "print {schedules: [{schedule, when, details, clockChanges}]} as JSON")
    .addHelpText(
      "after",
      `
Exit code: 0 explained, 2 the expression, the zone or the definition is wrong.

Examples:
  $ sluice cron explain "0 9 * * 1-5" --tz Europe/Berlin
  $ sluice cron explain --dag dags/etl.yaml`,
    )
    .action(explain);
}

async function explain(when: string | undefined, options: Options): Promise<void> {
  const asked = await askedOrExit(when, options);
  if (asked === undefined) return;
  const [{ wordsOf }, { clockChanges }] = await Promise.all([
    import("#lib/domain/schedule/words.ts"),
    import("#lib/domain/schedule/clock-changes.ts"),
  ]);
  const explained = asked.schedules.map(({ text, spec, schedule }) => ({
    schedule: text,
    ...wordsOf(spec, schedule),
    clockChanges: clockChanges(schedule, options.from ?? new Date()),
  }));
  if (options.json) return printJson({ schedules: explained });
  for (const one of explained) for (const line of explainLines(one)) printLine(line);
}

export function explainLines(one: Words & { schedule: string; clockChanges: readonly ClockChange[] }): string[] {
  return [
    one.schedule,
    `  ${one.when}`,
    ...one.details.map((detail) => `  ${detail}`),
    ...one.clockChanges.flatMap(changeLines),
  ];
}

function changeLines({ from, to, effects, isMore, unshown }: ClockChange): string[] {
  const lines = [
    ...effects.map(({ due, note }) => `    ${due.toISOString().slice(0, 16)}Z ${note.text}`),
    ...(unshown.length === 0 ? [] : [`    no clock shows ${unshown.join(", ")}: nothing is due in the gap`]),
    ...(isMore ? ["    and more"] : []),
  ];
  return [`  Clocks go from ${from} to ${to}${lines.length === 0 ? " without effect" : ":"}`, ...lines];
}
