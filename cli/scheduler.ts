import { Command } from "commander";
import { describedPlugins } from "./plugins.ts";
import { exitWith, settingsWithDatabaseOrExit } from "./settings.ts";

/** \`sluice scheduler\` */
export function schedulerCommand(): Command {
  return new Command("scheduler")
    .description(
      "Run a scheduler: loads DAG files, admits tasks, takes back what lost workers held. Several may run at once.",
    )
    .addHelpText("after", "\nExample:\n  $ DATABASE_URL=postgres://sluice@db/sluice sluice scheduler")
    .action(async () => {
      const settings = settingsWithDatabaseOrExit();
      const plugins = await describedPlugins(settings, exitWith);
      const { runScheduler } = await import("#worker/scheduler/main.ts");
      await runScheduler(settings, plugins);
    });
}
