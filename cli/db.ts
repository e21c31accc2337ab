import { Command, InvalidArgumentError } from "commander";
import type { Generation, Kept } from "#lib/db/generations.ts";
import { RETENTIONS, type Retention, retentionText } from "#lib/domain/model/retention.ts";
import { withEngine } from "./engine.ts";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine, table } from "./print.ts";

/** `sluice db` */
export function dbCommand(): Command {
  const db = usageIsTrouble(new Command("db"))
    .description("What the database holds, and for how long.")
    .addHelpText("after", "\nExamples:\n  $ sluice db size\n  $ sluice db retention 90d");
  for (const command of [size(), retention()]) db.addCommand(command);
  return db;
}

function size(): Command {
  return usageIsTrouble(new Command("size"))
    .description("The size of each table, how fast it grows, and when old runs are dropped.")
    .option(
      "--json",
      "print {total, since, tables: [{name, rows, heap, indexes, toast, total, perDay}], generations, kept} as JSON",
    )
    .action((options: { json?: true }) =>
      withEngine("db-size", async ({ pool }) => {
        const [{ readSizes }, { keptGenerations, listGenerations }] = await Promise.all([
          import("#lib/db/table-sizes.ts"),
          import("#lib/db/generations.ts"),
        ]);
        const [{ tables, total, since }, generations, kept] = await Promise.all([
          readSizes(pool),
          listGenerations(pool),
          keptGenerations(pool),
        ]);
        if (options.json) return printJson({ total, since, tables, generations, kept });
        const rows = tables
          .filter((one, index) => index < ALWAYS_SHOWN || one.total > MIN_SHOWN)
          .map((one) => [
            one.name,
            bytes(one.total),
            one.perDay === null ? "" : growth(one.perDay),
            bytes(one.heap),
            bytes(one.indexes),
            bytes(one.toast),
            `~${one.rows.toLocaleString("en-US")}`,
          ]);
        for (const line of table(["table", "size", "per day", "heap", "indexes", "toast", "rows"], rows))
          printLine(line);
        const perDay = tables.reduce((sum, one) => sum + (one.perDay ?? 0), 0);
        printLine(`\n${bytes(total)} in all, ${since === null ? NO_GROWTH : `${growth(perDay)} a day since ${since}`}`);
        printLine();
        const rowsOfRuns = generations.map((one) =>
          generationCells(
            one,
            kept.find(({ number }) => number === one.number),
          ),
        );
        for (const line of table(["runs", "kept for", "from", "to", "history dropped"], rowsOfRuns)) printLine(line);
      }),
    );
}

/** The largest ones, and whatever else has a size; empty tables are there by the dozen. */
const ALWAYS_SHOWN = 10;
const MIN_SHOWN = 1_000_000;

const NO_GROWTH = "growth is known a day after the first scheduler has started";

function generationCells(one: Generation, kept: Kept | undefined): string[] {
  const { firstRun, endRun, keepDays, openedAt, closedAt, droppingAt } = one;
  return [
    `${firstRun} to ${String(BigInt(endRun) - 1n)}`,
    retentionText(keepDays),
    day(openedAt),
    closedAt === null ? "" : day(closedAt),
    kept === undefined ? droppedText(keepDays, closedAt, droppingAt) : keptText(kept),
  ];
}

const keptText = ({ runs, more }: Kept): string => `kept by run ${runs.join(", ")}${more ? " and more" : ""}`;

function droppedText(keepDays: number, closedAt: Date | null, droppingAt: Date | null): string {
  if (droppingAt !== null) return "just now, or when no transaction reads it";
  if (keepDays === RETENTIONS.forever) return "never";
  if (closedAt === null) return "";
  return `${day(new Date(closedAt.getTime() + keepDays * DAY_MS))}, or when the last run is gone`;
}

const DAY_MS = 86_400_000;

const day = (at: Date): string => at.toISOString().slice(0, 10);

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** `1.2 MB` */
function bytes(count: number): string {
  let value = count;
  let unit = 0;
  for (; Math.abs(value) >= 1_000 && unit < UNITS.length - 1; unit++) value /= 1_000;
  return `${unit === 0 ? value : value.toPrecision(3)} ${UNITS[unit]}`;
}

const growth = (perDay: number): string => `${perDay > 0 ? "+" : ""}${bytes(Math.round(perDay))}`;

function retention(): Command {
  return usageIsTrouble(new Command("retention"))
    .description(
      "How long runs are kept whose DAG does not say so itself; with a time, keep those that start from now on so long.",
    )
    .argument("[time]", Object.keys(RETENTIONS).join(", "), parseRetention)
    .action((time: Retention | undefined) =>
      withEngine("db-retention", async ({ pool }) => {
        const [{ defaultKeepDays, setDefaultKeepDays }, { requireHistoryRights }, { inTx }] = await Promise.all([
          import("#lib/db/generations.ts"),
          import("#lib/db/history-rights.ts"),
          import("#lib/db/tx.ts"),
        ]);
        if (time !== undefined) {
          await requireHistoryRights(pool);
          await inTx(pool, (tx) => setDefaultKeepDays(tx, RETENTIONS[time]));
        }
        const keepDays = await defaultKeepDays(pool);
        printLine(
          `runs are kept for ${retentionText(keepDays)} after they ended, unless their DAG has a retention of its own`,
        );
      }),
    );
}

function parseRetention(text: string): Retention {
  if (Object.hasOwn(RETENTIONS, text)) return text as Retention;
  throw new InvalidArgumentError(`There are ${Object.keys(RETENTIONS).join(", ")}.`);
}
