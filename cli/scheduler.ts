import { Command, InvalidArgumentError } from "commander";
import { describedPlugins } from "./plugins.ts";
import { exitWith, settingsWithDatabaseOrExit } from "./settings.ts";

/** \`sluice scheduler\` */
export function schedulerCommand(): Command {
  return new Command("scheduler")
    .description(
      "Run a scheduler: loads DAG files, admits tasks, takes back what lost workers held. Several may run at once.",
    )
    .option(
      "-n, --name <name>",
      "stable name of this scheduler: it takes the place of one of that name that was killed, without waiting",
      checkedName,
    )
    .addHelpText("after", "\nExample:\n  $ DATABASE_URL=postgres://sluice@db/sluice sluice scheduler --name one")
    .action(async ({ name }: { name?: string }) => {
      const settings = settingsWithDatabaseOrExit();
      const plugins = await describedPlugins(settings, exitWith);
      const { runScheduler } = await import("#worker/scheduler/main.ts");
      await runScheduler(settings, plugins, name);
    });
}

function checkedName(name: string): string {
  if (/^[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$/.test(name)) return name;
  throw new InvalidArgumentError("Allowed: up to 63 lower-case letters, digits and . _ - between them.");
}
