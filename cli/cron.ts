import { Command } from "commander";
import { calendarCommand } from "./cron-calendar.ts";
import { explainCommand } from "./cron-explain.ts";
import { nextCommand } from "./cron-next.ts";
import { usageIsTrouble } from "./exit.ts";

/** `sluice cron` */
export function cronCommand(): Command {
  const cron = usageIsTrouble(new Command("cron"))
    .description("Try out schedules: when they are due, and what they say in words. Needs no database.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice cron next "0 9 * * 1-5" --tz Europe/Berlin   when it is due
  $ sluice cron explain "*/30 2 * * *"                  what it says
  $ sluice cron next --dag dags/etl.yaml                when a DAG's runs are due`,
    );
  for (const command of [nextCommand, explainCommand, calendarCommand]) cron.addCommand(command());
  return cron;
}
