import { Command } from "commander";
import { settingsOrExit } from "./settings.ts";

/** \`sluice start\` */
export function startCommand(): Command {
  return new Command("start")
    .description("Run everything on this machine: database (unless DATABASE_URL is set), web, scheduler and worker.")
    .addHelpText(
      "after",
      "\nExample:\n  $ PORT=9000 sluice start\n\nCtrl-C stops everything in order. Data stays in SLUICE_HOME (.sluice).",
    )
    .action(async () => {
      const { runStandalone } = await import("#worker/standalone/main.ts");
      process.exit(await runStandalone(settingsOrExit()));
    });
}
