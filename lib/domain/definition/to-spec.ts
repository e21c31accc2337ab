import type { DagSpec } from "../model/dag.ts";
import type { TaskSpec } from "../model/task.ts";
import { TASK_TYPE_NAMES, TASK_TYPES, type TaskType } from "../model/task-types.ts";
import type { FileDag, FileTask } from "./schema.ts";

/**
 * The model that a file means. `raw` is the file's own data: only it tells a task that names an option from one
 * that takes it from the DAG's `defaults`.
 */
export function toSpec({ defaults, tasks, ...dag }: FileDag, raw: unknown): DagSpec {
  const data = raw as { defaults?: Record<string, unknown>; tasks: Record<string, unknown>[] };
  const given = Object.entries(defaults ?? {}).filter(([key]) => Object.hasOwn(data.defaults ?? {}, key));
  return {
    ...dag,
    tasks: tasks.map((task, index) => {
      const own = data.tasks[index]!;
      const inherited = Object.fromEntries(given.filter(([key]) => !Object.hasOwn(own, key)));
      // Variables add up: a task that sets one of its own keeps the common ones.
      const env = { ...(Object.hasOwn(data.defaults ?? {}, "env") ? defaults?.env : {}), ...task.env };
      return { ...withConfig(task), ...inherited, env };
    }),
  };
}

function withConfig({ bash, python, fn, http, sql, noop, ...task }: FileTask): TaskSpec {
  const written = { bash, python, fn, http, sql, noop };
  const type = TASK_TYPE_NAMES.find((name) => written[name] !== undefined)!;
  return { ...task, type, config: configOf(type, written[type]) } as TaskSpec;
}

function configOf(type: TaskType, value: unknown): unknown {
  if (type === "fn") return fnConfig(value as string);
  const entry = TASK_TYPES[type];
  if (typeof value === "string") return entry.config.parse({ [entry.shorthand!]: value });
  return value ?? {};
}

function fnConfig(reference: string): { module: string; export: string } {
  const [module, name] = reference.split("#") as [string, string];
  return { module: module.replace(/^(\.\/)+/, ""), export: name };
}
