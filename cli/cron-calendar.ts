import { readFile } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import { messageOf } from "#lib/domain/errors.ts";
import { CalendarName } from "#lib/domain/model/calendar.ts";
import { trouble, usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";

/** `sluice cron calendar` */
export function calendarCommand(): Command {
  return usageIsTrouble(new Command("calendar"))
    .description("Make a calendar for a definition from an iCalendar file (.ics), which holidays are published in.")
    .argument("<file>", "the iCalendar file")
    .option("--name <name>", "what the calendar is called", parseName, "holidays")
    .option("--json", "print {calendars} as JSON")
    .addHelpText(
      "after",
      `
All-day events are read, also those of several days and those of every year. Exit code: 0 read, 2 it cannot be.

Examples:
  $ sluice cron calendar holidays.ics --name bank-holidays >> dags/etl.yaml`,
    )
    .action(calendar);
}

async function calendar(file: string, { name, json }: { name: string; json?: true }): Promise<void> {
  const text = await readFile(file, "utf8").catch((error: unknown) => trouble(`${file}: ${messageOf(error)}`));
  const { readIcs } = await import("#lib/domain/schedule/ics.ts");
  const read = readIcs(text);
  if (!read.ok) return trouble(...read.problems.map(({ line, message }) => `${file}:${line}: ${message}`));
  const calendars = { [name]: { dates: read.dates } };
  if (json) return printJson({ calendars });
  const { stringify } = await import("yaml");
  printLine(stringify({ calendars }).trimEnd());
}

function parseName(text: string): string {
  const parsed = CalendarName.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(parsed.error.issues[0]!.message);
}
