import { z } from "zod";
import { checkTimes, dagFields } from "../model/dag.ts";
import { checkStorable } from "../model/names.ts";
import { NO_PLUGINS, type PluginTypes } from "../model/plugin-type.ts";
import { taskFields, taskOptions } from "../model/task.ts";
import { TASK_TYPE_NAMES, TASK_TYPES, type TaskTypeEntry } from "../model/task-types.ts";
import { MAX_TASKS_PER_DAG } from "../ids.ts";
import { pluginKey } from "./plugin-key.ts";

/**
 * What may stand in a definition file. It differs from the model in three ways: a task's type is the key that
 * holds its config (`bash: ./run.sh`), a function is `./module.ts#export`, and `defaults` is written once.
 */

/** Begins what is said of a task with none or several. */
export const ONE_EXECUTOR = "a task has exactly one of the keys";

/** What the key of a built-in type holds: its config, or a text that is all of it; nothing, where nothing need be said. */
function builtInKey({ config, shorthand, face, about }: TaskTypeEntry): z.ZodType {
  const written = face?.schema ?? (shorthand === undefined ? config : z.union([config.shape[shorthand]!, config]));
  const isOptional = face === undefined && config.safeParse({}).success;
  return (isOptional ? written.nullish() : written.optional()).describe(about);
}

const BUILT_IN_KEYS = Object.fromEntries(Object.entries(TASK_TYPES).map(([type, entry]) => [type, builtInKey(entry)]));

/** A task as a file has it; which keys of types there are depends on the plugins. */
type FileTaskSchema = z.ZodObject<typeof taskFields, z.core.$strict>;

function fileTask(plugins: PluginTypes): FileTaskSchema {
  const types = [...TASK_TYPE_NAMES, ...plugins.map(({ type }) => type)];
  const pluginKeys = Object.fromEntries(plugins.map((plugin) => [plugin.type, pluginKey(plugin)]));
  return z
    .strictObject({ ...taskFields, ...BUILT_IN_KEYS, ...pluginKeys })
    .superRefine((task: Record<string, unknown>, context) => {
      // `noop:` without a value is null, which is there.
      const given = types.filter((name) => task[name] !== undefined);
      if (given.length !== 1) context.addIssue({ code: "custom", message: `${ONE_EXECUTOR} ${types.join(", ")}` });
    });
}

export const FileDefaults = z.strictObject(taskOptions).describe("What tasks have that do not say it themselves.");

/** Characters that the defaults take when they are written out for each task, as the model has them. */
const MAX_INHERITED = 32 * 1024 * 1024;

type WithDefaults = { defaults?: unknown; tasks: readonly unknown[] };

function checkInherited({ defaults, tasks }: WithDefaults, context: z.RefinementCtx): void {
  const length = JSON.stringify(defaults ?? {}).length;
  if (length * tasks.length <= MAX_INHERITED) return;
  const most = Math.floor(MAX_INHERITED / tasks.length);
  const message = `${length} characters for each of ${tasks.length} tasks are too many; at most ${most} may be common to them`;
  context.addIssue({ code: "custom", path: ["defaults"], message });
}

function makeFileDag(plugins: PluginTypes) {
  return z
    .strictObject({
      ...dagFields,
      defaults: FileDefaults.optional(),
      tasks: z.array(fileTask(plugins)).min(1, "a DAG has at least one task").max(MAX_TASKS_PER_DAG),
    })
    .superRefine(checkTimes)
    .superRefine(checkStorable)
    .superRefine(checkInherited);
}

type FileDagSchema = ReturnType<typeof makeFileDag>;
export type FileDag = z.output<FileDagSchema>;

/** What a program may write where a file is meant, before it is read. */
export type FileDagInput = z.input<FileDagSchema>;

const made = new WeakMap<PluginTypes, FileDagSchema>();

/** The schema of a definition file where there are these types beside the built-in ones. */
export function fileDag(plugins: PluginTypes = NO_PLUGINS): FileDagSchema {
  const schema = made.get(plugins) ?? makeFileDag(plugins);
  made.set(plugins, schema);
  return schema;
}
