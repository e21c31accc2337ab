import { Command } from "commander";
import { settingsWithDatabaseOrExit } from "./settings.ts";

/** \`sluice scheduler\` */
export function schedulerCommand(): Command {
  return new Command("scheduler")
    .description(
      "Run a scheduler: loads DAG files, admits tasks, takes back what lost workers held. Several may run at once.",
    )
    .addHelpText("after", "\nExample:\n  $ DATABASE_URL=postgres://sluice@db/sluice sluice scheduler")
    .action(async () => {
      const settings = settingsWithDatabaseOrExit();
      const { runScheduler } = await import("#worker/scheduler/main.ts");
      await runScheduler(settings);
    });
}
