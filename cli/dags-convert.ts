import { Command, Option } from "commander";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { readDagOrExit } from "./read-dag.ts";

type Options = { to: "yaml" | "json"; output?: string; force?: true };

/** `sluice dags convert` */
export function convertCommand(): Command {
  return usageIsTrouble(new Command("convert"))
    .description("Write a definition as YAML or JSON: from TypeScript, or from one of these to the other.")
    .argument("<file>", "the definition")
    .addOption(new Option("--to <format>", "what to write").choices(["yaml", "json"]).makeOptionMandatory())
    .option("-o, --output <file>", "where to write (default: stdout)")
    .option("--force", "replace the output file when it is there")
    .addHelpText(
      "after",
      `
Functions stay in their TypeScript files and are named by path, as seen from the output file; on stdout, from the
folder of <file>. What cannot be carried over is told on stderr.

Exit code: 0 written, 2 the definition is wrong or the output file exists.

Examples:
  $ sluice dags convert dags/etl.ts --to yaml
  $ sluice dags convert dags/hello.yaml --to json -o hello.json`,
    )
    .action(convert);
}

async function convert(given: string, options: Options): Promise<void> {
  const source = await readDagOrExit(given);
  if (source === undefined) return;
  const { convertDag } = await import("./convert-dag.ts");
  const { text, notes } = await convertDag(source, options);
  if (options.output === undefined) process.stdout.write(text);
  else if (!(await written(options.output, text, options.force ?? false))) return;
  for (const note of notes) process.stderr.write(`sluice: ${note}\n`);
  process.exitCode = EXIT.yes;
}

async function written(file: string, text: string, force: boolean): Promise<boolean> {
  const { writeFile } = await import("node:fs/promises");
  try {
    await writeFile(file, text, { flag: force ? "w" : "wx" });
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : error;
    if (code === "EEXIST") return trouble(`${file} exists already; --force replaces it`);
    return trouble(`${file} cannot be written (${String(code)})`);
  }
}
