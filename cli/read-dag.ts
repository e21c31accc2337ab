import { processSettings, type Settings } from "#lib/env.ts";
import type { LoadedDag } from "#worker/loader/load-file.ts";
import { EXIT, trouble } from "./exit.ts";
import { describedPlugins } from "./plugins.ts";

/** A DAG as read from a file: `file` is its path below `root`, its DAGs folder. */
export type ReadDag = { dag: LoadedDag; root: string; file: string; settings: Settings };

/**
 * The DAG of one definition file. A wrong path ends the process; mistakes in the definition are told, the exit code is
 * set and the answer is undefined.
 */
export async function readDagOrExit(given: string): Promise<ReadDag | undefined> {
  const settings = processSettings();
  if (!settings.ok) return trouble(...settings.problems);
  const { loadOne } = await import("./definition-files.ts");
  const plugins = await describedPlugins(settings.settings, (problems) => trouble(...problems));
  const loaded = await loadOne(given, settings.settings.dagsDir, plugins);
  if (loaded.ok) return { ...loaded, settings: settings.settings };
  if ("usage" in loaded) return trouble(...loaded.usage);
  const { problemTexts } = await import("./problem-text.ts");
  for (const text of await problemTexts(loaded.root, loaded.problems)) process.stderr.write(`${text}\n`);
  process.exitCode = EXIT.trouble;
  return undefined;
}
