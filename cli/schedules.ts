import { Command } from "commander";
import type { ScheduleStanding } from "#lib/db/schedule-reads.ts";
import { DROP_WORDS } from "#lib/domain/schedule/decide.ts";
import { type Asked, clockText, parseCount, timeText } from "./cron-schedules.ts";
import { runLines } from "./cron-next.ts";
import { withEngine } from "./engine.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { count, printJson, printLine, table } from "./print.ts";

/** `sluice schedules` */
export function schedulesCommand(): Command {
  const schedules = usageIsTrouble(new Command("schedules"))
    .description("When the DAGs in the database are due, and what did not start.")
    .addHelpText("after", "\nExamples:\n  $ sluice schedules list\n  $ sluice schedules show etl --count 20");
  for (const command of [list(), show(), reset()]) schedules.addCommand(command);
  return schedules;
}

/** With what is made of the definition, which the database keeps as data. */
type Known = ScheduleStanding & { one: Asked["schedules"][number]; words: string; details: string[] };

async function known(standing: ScheduleStanding): Promise<Known> {
  const [{ compileDefinition }, { expressionOf, wordsOf }] = await Promise.all([
    import("#lib/domain/schedule/definition.ts"),
    import("#lib/domain/schedule/words.ts"),
  ]);
  const { definition, dagId } = standing;
  const { spec } = definition;
  const schedule = compileDefinition(dagId, definition);
  const { when, details } = wordsOf(spec, schedule);
  return { ...standing, one: { text: expressionOf(spec), spec, schedule }, words: when, details };
}

function list(): Command {
  return usageIsTrouble(new Command("list"))
    .description("Every schedule with its next run; what is paused, or never due again, says so.")
    .option("--dag <id>", "only those of this DAG")
    .option("--json", "print {now, schedules: [{id, dagId, definition, nextDue, nextAt, lastDue, dropped, …}]} as JSON")
    .action((options: { dag?: string; json?: true }) =>
      withEngine("schedules-list", async ({ pool }) => {
        const { listSchedules } = await import("#lib/db/schedule-reads.ts");
        const { now, schedules } = await listSchedules(pool, options.dag === undefined ? undefined : [options.dag]);
        if (options.json) return printJson({ now, schedules });
        if (schedules.length === 0) return printLine("there are no schedules");
        const rows = (await Promise.all(schedules.map(known))).map((schedule) => [
          schedule.dagId,
          schedule.one.text,
          schedule.definition.timezone,
          nextText(schedule, now),
          String(schedule.dropped.reduce((sum, { runs }) => sum + runs, 0) || ""),
          schedule.words,
        ]);
        for (const line of table(["dag", "schedule", "zone", "next run (UTC)", "dropped", "in words"], rows))
          printLine(line);
      }),
    );
}

/** When the next run starts, or why none does. */
function nextText({ missing, pausedBy, nextDue, nextAt }: ScheduleStanding, now: Date): string {
  if (missing) return "its file is missing";
  if (pausedBy !== null) return `paused by ${pausedBy}`;
  if (nextAt === null) return "never again";
  const start = nextDue === null || nextAt > nextDue ? nextAt : nextDue;
  return start <= now ? "now" : timeText(start);
}

function show(): Command {
  return usageIsTrouble(new Command("show"))
    .description("A DAG's schedules in words, its next runs, and runs that did not start.")
    .argument("<dag>", "the DAG's id")
    .option("--count <number>", "how many of the next runs", parseCount, 10)
    .option("--json", "print {now, schedules, runs: [{due, at, logicalDate, interval, schedule, notes}]} as JSON")
    .addHelpText("after", "\nExit code: 0 shown, 2 there is no such DAG, or it has no schedule.")
    .action((dagId: string, options: { count: number; json?: true }) =>
      withEngine("schedules-show", async ({ pool }) => {
        const [{ listSchedules }, { preview }] = await Promise.all([
          import("#lib/db/schedule-reads.ts"),
          import("#lib/domain/schedule/preview.ts"),
        ]);
        const { now, schedules } = await listSchedules(pool, [dagId]);
        if (schedules.length === 0) return trouble(`there is no DAG "${dagId}" with a schedule`);
        const all = await Promise.all(schedules.map(known));
        const asked: Asked = { title: dagId, schedules: all.map(({ one }) => one) };
        const runs = preview(
          all.map(({ one }) => one.schedule),
          now,
          options.count,
        );
        if (options.json) return printJson({ now, schedules, runs });
        for (const schedule of all) for (const line of standingLines(schedule)) printLine(line);
        const [{ pausedBy, pausedAt, missing }] = all as [Known, ...Known[]];
        if (missing) printLine("\nIts file is missing: none of these runs will start.");
        else if (pausedBy !== null)
          printLine(
            `\nPaused by ${pausedBy}${pausedAt === null ? "" : ` since ${timeText(pausedAt)} UTC`}: none of these runs will start.`,
          );
        printLine();
        if (runs.length === 0) return printLine("It is never due again.");
        for (const line of runLines(asked, runs)) printLine(line);
      }),
    );
}

function reset(): Command {
  return usageIsTrouble(new Command("reset"))
    .description(
      "Let a DAG's schedules go on from now that stand in the future, where a wrong clock of the database has taken them.",
    )
    .argument("<dag>", "the DAG's id")
    .action((dagId: string) =>
      withEngine("schedules-reset", async ({ pool, notifier }) => {
        const [{ resetSchedules }, { inTx }] = await Promise.all([
          import("#lib/db/schedules.ts"),
          import("#lib/db/tx.ts"),
        ]);
        const schedules = await inTx(pool, (tx) => resetSchedules(tx, dagId));
        if (schedules === 0) return trouble(`no schedule of "${dagId}" stands in the future`);
        notifier.announce("sluice_schedules", [dagId]);
        printLine(`${count(schedules, "schedule")} of ${dagId} ${schedules === 1 ? "goes" : "go"} on from now`);
      }),
    );
}

function standingLines({ one, words, details, lastDue, dropped }: Known): string[] {
  return [
    `${one.text}  ${words}`,
    ...details.map((detail) => `  ${detail}`),
    ...(lastDue === null ? [] : [`  last due ${clockText(one.schedule, lastDue)}`]),
    ...dropped.map(
      ({ reason, runs, firstDue, lastDue: last }) =>
        `  did not start: ${count(runs, "run")} from ${timeText(firstDue)} to ${timeText(last)} UTC, ${DROP_WORDS[reason]}`,
    ),
  ];
}
