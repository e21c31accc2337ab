import type { Json } from "../canonical.ts";
import { compactSpec, type DagSpec } from "../model/dag.ts";
import { TASK_TYPES, type TaskType } from "../model/task-types.ts";

type Members = Record<string, Json>;

/**
 * The data of a definition file that means this spec, without what is the default anyway. Reading it gives the spec
 * back, but for `bundle`, which follows from the code beside the file.
 */
export function toFileData(spec: DagSpec): Members {
  const { bundle: _, schedule, tasks, ...dag } = compactSpec(spec) as Members & { tasks: readonly Members[] };
  return {
    ...dag,
    ...(schedule === undefined ? {} : { schedule: shortSchedule(schedule as readonly Members[]) }),
    tasks: tasks.map(fileTask),
  };
}

function fileTask({ id, name, description, dependsOn, type, config, ...rest }: Members): Members {
  const present = Object.entries({ id, name, description, dependsOn }).filter(([, value]) => value !== undefined);
  const key = type as TaskType;
  return { ...(Object.fromEntries(present) as Members), [key]: shortConfig(key, config as Members), ...rest };
}

/** The text a config stands for, when it holds nothing else. */
function shortConfig(type: TaskType, config: Members): Json {
  if (type === "fn") return fnReference(config as { module: string; export: string });
  const { shorthand } = TASK_TYPES[type];
  const only = shorthand !== undefined && Object.keys(config).length === 1 ? config[shorthand] : undefined;
  return only ?? config;
}

function fnReference({ module, export: name }: { module: string; export: string }): string {
  return `${module.startsWith("../") ? "" : "./"}${module}#${name}`;
}

function shortSchedule(list: readonly Members[]): Json {
  const short = list.map((one): Json =>
    Object.keys(one).length === 1 && one["cron"] !== undefined ? one["cron"] : one,
  );
  return short.length === 1 ? short[0]! : short;
}
