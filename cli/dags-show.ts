import { Command } from "commander";
import { usageIsTrouble } from "./exit.ts";
import { printJson } from "./print.ts";
import { parseNumber, type Version, versionOrExit } from "./read-versions.ts";

type Options = { version?: number; json?: true };

/** `sluice dags show` */
export function showCommand(): Command {
  return usageIsTrouble(new Command("show"))
    .description("A DAG as it is in the database, written as a YAML definition.")
    .argument("<id>", "the DAG")
    .option("--version <number>", "this version instead of the current one", parseNumber)
    .option("--json", "print {version, author, note, createdAt, file, current, spec} as JSON")
    .addHelpText(
      "after",
      `
Paths of functions are as seen from the DAGs folder.

Exit code: 0 shown, 2 there is no such DAG or version.

Examples:
  $ sluice dags show etl
  $ sluice dags show etl --version 3 > etl-3.yaml`,
    )
    .action(show);
}

async function show(id: string, options: Options): Promise<void> {
  const version = await versionOrExit(id, options.version);
  if (options.json) {
    const { compactSpec } = await import("#lib/domain/model/dag.ts");
    return printJson({ ...version, spec: compactSpec(version.spec) });
  }
  const { toYaml } = await import("#lib/domain/definition/to-yaml.ts");
  process.stdout.write(`${showHeader(version)}\n${toYaml(version.spec)}`);
}

/** What is known of a version beside its spec, as comments of a YAML file. */
export function showHeader(version: Version): string {
  const { number, current, file, author, note, createdAt } = version;
  const which = number === current ? "the current one" : `not the current one, which is ${current}`;
  return [
    `${version.dagId}, version ${number} (${which})`,
    `made ${createdAt} by ${author}`,
    ...(note === null ? [] : note.split("\n")),
    `file: ${file}`,
  ]
    .map((line) => `# ${line}`)
    .join("\n");
}
