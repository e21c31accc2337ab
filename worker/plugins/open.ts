import type { Executor } from "#lib/executors/executor.ts";
import { executorsWith, type Executors } from "#lib/executors/registry.ts";
import { registerDagHooks } from "../functions/resolve-hook.ts";
import { importPlugins } from "./import.ts";
import { pluginProblem, type PluginPlaces } from "./places.ts";

export type Opened = { ok: true; executors: Executors } | { ok: false; problems: string[] };

/**
 * The executors of this process: the built-in ones, and those of the plugins, which run inside it. Whoever only reads
 * definitions asks `describePlugins` instead.
 */
export async function openExecutors(places: PluginPlaces): Promise<Opened> {
  const { locations, base } = places;
  if (locations.length === 0) return { ok: true, executors: executorsWith([]) };
  registerDagHooks(base, { base });
  const onExit = (): void => {
    process.stderr.write(`sluice: ${pluginProblem(locations.join(", "), "the process ended while it was imported")}\n`);
  };
  process.once("exit", onExit);
  const imported = await importPlugins(places);
  process.off("exit", onExit);
  if (!imported.ok) return imported;
  const plugins: readonly Executor[] = imported.executors;
  return { ok: true, executors: executorsWith(plugins) };
}
