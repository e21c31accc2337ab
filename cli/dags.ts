import { Command } from "commander";
import { convertCommand } from "./dags-convert.ts";
import { diffCommand } from "./dags-diff.ts";
import { listCommand } from "./dags-list.ts";
import { rollbackCommand } from "./dags-rollback.ts";
import { schemaCommand } from "./dags-schema.ts";
import { showCommand } from "./dags-show.ts";
import { testCommand } from "./dags-test.ts";
import { pauseCommand, unpauseCommand } from "./dags-pause.ts";
import { validateCommand } from "./dags-validate.ts";
import { versionsCommand } from "./dags-versions.ts";
import { usageIsTrouble } from "./exit.ts";

const COMMANDS = [
  validateCommand,
  testCommand,
  convertCommand,
  schemaCommand,
  listCommand,
  showCommand,
  versionsCommand,
  diffCommand,
  rollbackCommand,
  pauseCommand,
  unpauseCommand,
];

/** `sluice dags` */
export function dagsCommand(): Command {
  const dags = usageIsTrouble(new Command("dags"))
    .description("Check, try out, convert and look at DAG definitions.")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice dags validate               every mistake in the DAGs folder
  $ sluice dags test dags/etl.ts       run a DAG right here, without a database
  $ sluice dags show etl --version 3   a DAG as it was`,
    );
  for (const command of COMMANDS) dags.addCommand(command());
  return dags;
}
