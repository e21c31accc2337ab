import { Command } from "commander";
import { processSettings } from "#lib/env.ts";
import { EXIT, trouble, usageIsTrouble } from "./exit.ts";
import { describedPlugins } from "./plugins.ts";
import { count, printJson, printLine } from "./print.ts";

/** `sluice dags validate` */
export function validateCommand(): Command {
  return usageIsTrouble(new Command("validate"))
    .description("Read definitions the way the scheduler does and tell every mistake. Needs no database.")
    .argument("[paths...]", "files and folders (default: SLUICE_DAGS_DIR)")
    .option("--json", "print {files, dags, problems, warnings} as JSON")
    .addHelpText(
      "after",
      `
Exit code: 0 without mistakes (warnings allowed), 1 with mistakes, 2 when a path does not exist.
A file outside SLUICE_DAGS_DIR is read with its own folder as the DAGs folder.

Examples:
  $ sluice dags validate
  $ sluice dags validate dags/etl.ts other-folder --json`,
    )
    .action(validate);
}

async function validate(paths: string[], options: { json?: true }): Promise<void> {
  const settings = processSettings();
  if (!settings.ok) return trouble(...settings.problems);
  const { dagsDir } = settings.settings;
  const { findTargets, loadTargets, shownPath } = await import("./definition-files.ts");
  const { report } = await import("./validate-files.ts");
  const targets = await findTargets(paths.length === 0 ? [dagsDir] : paths, dagsDir);
  if (!targets.ok) return trouble(...targets.problems);
  const plugins = await describedPlugins(settings.settings, (problems) => trouble(...problems));
  const { files, dags, broken, warnings } = report(await loadTargets(targets.targets, plugins));
  if (broken.length > 0) process.exitCode = EXIT.no;
  if (options.json) {
    const problems = broken.map(({ root, problem }) => ({ ...problem, file: shownPath(root, problem.file) }));
    return printJson({ files, dags, problems, warnings });
  }
  const { problemTexts } = await import("./problem-text.ts");
  for (const { root, problem } of broken) {
    for (const text of await problemTexts(root, [problem])) process.stderr.write(`${text}\n`);
  }
  for (const { file, message } of warnings) process.stderr.write(`${file}: warning: ${message}\n`);
  const found = `${count(files.length, "file")}, ${count(dags.length, "DAG")}`;
  printLine(`${found}: ${count(broken.length, "problem")}, ${count(warnings.length, "warning")}`);
}
