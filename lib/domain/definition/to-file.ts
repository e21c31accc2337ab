import type { Json } from "../canonical.ts";
import { compactSpec, type DagSpec } from "../model/dag.ts";
import { builtInType } from "../model/task-types.ts";

type Members = Record<string, Json>;

/**
 * The data of a definition file that means this spec, without what is the default anyway. Reading it gives the spec
 * back, but for `bundle`, which follows from the code beside the file, and `types`, which are the plugins'.
 */
export function toFileData(spec: DagSpec): Members {
  const {
    bundle: _,
    types: __,
    schedule,
    tasks,
    ...dag
  } = compactSpec(spec) as Members & { tasks: readonly Members[] };
  return {
    ...dag,
    ...(schedule === undefined ? {} : { schedule: shortSchedule(schedule as readonly Members[]) }),
    tasks: tasks.map(fileTask),
  };
}

function fileTask({ id, name, description, dependsOn, type, config, ...rest }: Members): Members {
  const present = Object.entries({ id, name, description, dependsOn }).filter(([, value]) => value !== undefined);
  const key = type as string;
  return { ...(Object.fromEntries(present) as Members), [key]: shortConfig(key, config as Members), ...rest };
}

/** The text a config stands for, when it holds nothing else. */
function shortConfig(type: string, config: Members): Json {
  const entry = builtInType(type);
  if (entry?.face !== undefined) return entry.face.write(config);
  const { shorthand } = entry ?? {};
  const only = shorthand !== undefined && Object.keys(config).length === 1 ? config[shorthand] : undefined;
  return only ?? config;
}

function shortSchedule(list: readonly Members[]): Json {
  const short = list.map((one): Json =>
    Object.keys(one).length === 1 && one["cron"] !== undefined ? one["cron"] : one,
  );
  return short.length === 1 ? short[0]! : short;
}
