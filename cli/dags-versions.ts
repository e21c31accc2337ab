import { Command } from "commander";
import { usageIsTrouble } from "./exit.ts";
import { printJson, printLine, shorten, table } from "./print.ts";
import { type VersionLine, versionsOrExit } from "./read-versions.ts";

/** `sluice dags versions` */
export function versionsCommand(): Command {
  return usageIsTrouble(new Command("versions"))
    .description("The versions of a DAG, the newest first.")
    .argument("<id>", "the DAG")
    .option("--json", "print {current, versions} as JSON")
    .addHelpText("after", "\nExample:\n  $ sluice dags versions etl")
    .action(versions);
}

async function versions(id: string, options: { json?: true }): Promise<void> {
  const found = await versionsOrExit(id);
  if (options.json) return printJson(found);
  for (const line of versionLines(found.versions, found.current)) printLine(line);
}

/** The table people see. */
export function versionLines(versions: readonly VersionLine[], current: number): string[] {
  return table(
    ["version", "made", "by", "note"],
    versions.map(({ number, createdAt, author, note }) => [
      `${number}${number === current ? " *" : ""}`,
      createdAt,
      author,
      shorten(note ?? "", 80),
    ]),
  );
}
