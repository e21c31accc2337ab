import type { DagSpec } from "../model/dag.ts";
import type { PluginTypes } from "../model/plugin-type.ts";
import { taskFields, type TaskSpec } from "../model/task.ts";
import { builtInType, TASK_TYPE_NAMES } from "../model/task-types.ts";
import { writtenConfig } from "./plugin-key.ts";
import type { FileDag } from "./schema.ts";

type FileTask = FileDag["tasks"][number];

/**
 * The model that a file means. `raw` is the file's own data: only it tells a task that names an option from one
 * that takes it from the DAG's `defaults`.
 */
export function toSpec({ defaults, tasks: written, ...dag }: FileDag, raw: unknown, plugins: PluginTypes): DagSpec {
  const data = raw as { defaults?: Record<string, unknown>; tasks: Record<string, unknown>[] };
  const given = Object.entries(defaults ?? {}).filter(([key]) => Object.hasOwn(data.defaults ?? {}, key));
  const tasks = written.map((task, index) => {
    const own = data.tasks[index]!;
    const inherited = Object.fromEntries(given.filter(([key]) => !Object.hasOwn(own, key)));
    // Variables add up: a task that sets one of its own keeps the common ones.
    const env = { ...(Object.hasOwn(data.defaults ?? {}, "env") ? defaults?.env : {}), ...task.env };
    return { ...withConfig(task, plugins), ...inherited, env };
  });
  return { ...dag, tasks, ...usedTypes(tasks, plugins) };
}

function withConfig(task: FileTask, plugins: PluginTypes): TaskSpec {
  const written: Record<string, unknown> = task;
  const own = plugins.find(({ type }) => written[type] !== undefined);
  const type = own?.type ?? TASK_TYPE_NAMES.find((name) => written[name] !== undefined)!;
  const config = own === undefined ? builtInConfig(type, written[type]) : writtenConfig(own, written[type]);
  const rest = Object.entries(written).filter(([key]) => Object.hasOwn(taskFields, key));
  return { ...Object.fromEntries(rest), type, config } as TaskSpec;
}

function builtInConfig(type: string, value: unknown): unknown {
  const { config, shorthand, face } = builtInType(type)!;
  if (face !== undefined) return face.read(value);
  return typeof value === "string" ? config.parse({ [shorthand!]: value }) : (value ?? {});
}

/** What is kept of the plugins' types that these tasks are of. */
function usedTypes(tasks: readonly TaskSpec[], plugins: PluginTypes): Pick<DagSpec, "types"> {
  const names = new Set(tasks.map((task): string => task.type));
  const used = plugins.filter(({ type }) => names.has(type));
  if (used.length === 0) return {};
  const kept = used.map(({ type, displayName, icon, slotClass }) => [type, { displayName, icon, slotClass }]);
  return { types: Object.fromEntries(kept) as NonNullable<DagSpec["types"]> };
}
