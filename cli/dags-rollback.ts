import { Command } from "commander";
import { KEPT_VERSIONS } from "#lib/domain/model/retention.ts";
import { EXIT, usageIsTrouble } from "./exit.ts";
import { printJson, printLine } from "./print.ts";
import { parseNumber } from "./read-versions.ts";

/** `sluice dags rollback` */
export function rollbackCommand(): Command {
  return usageIsTrouble(new Command("rollback"))
    .description(
      "Make an earlier version's spec the current one again, as a new version. Runs keep the version they have.",
    )
    .argument("<id>", "the DAG")
    .requiredOption("--to <number>", "the version to go back to", parseNumber)
    .option("--json", "print {version} as JSON")
    .addHelpText(
      "after",
      `\nExample:\n  $ sluice dags rollback etl --to 3\n\nThe file stays as it is, and becomes a version again when it changes.\nThe latest ${KEPT_VERSIONS} versions are kept, and older ones while a run of theirs is.`,
    )
    .action(async (id: string, options: { to: number; json?: true }) => {
      const { withEngine } = await import("./engine.ts");
      const { rollbackVersion } = await import("#lib/engine/rollback-version.ts");
      const number = await withEngine("dags-rollback", (deps, actor) =>
        rollbackVersion(deps, { dagId: id, toNumber: options.to, actor }),
      );
      process.exitCode = EXIT.yes;
      if (options.json) printJson({ version: number });
      else printLine(`"${id}" is at version ${number}, which is version ${options.to} again`);
    });
}
