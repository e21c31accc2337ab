import { z } from "zod";
import { checkDates, dagFields } from "../model/dag.ts";
import { ProgramText } from "../model/names.ts";
import { taskFields, taskOptions } from "../model/task.ts";
import {
  BashConfig,
  HttpConfig,
  NoopConfig,
  PythonConfig,
  SqlConfig,
  TASK_TYPE_NAMES,
  TASK_TYPES,
} from "../model/task-types.ts";
import { MAX_TASKS_PER_RUN } from "../ids.ts";

/**
 * What may stand in a definition file. It differs from the model in three ways: a task's type is the key that
 * holds its config (`bash: ./run.sh`), a function is `./module.ts#export`, and `defaults` is written once.
 */

const FnReference = z
  .string()
  .regex(/^[^#]+#[^#]+$/, "a function is written as ./file.ts#exportedName")
  .describe(TASK_TYPES.fn.about);

/** Said of a task with none or several. */
const ONE_EXECUTOR = `a task has exactly one of the keys ${TASK_TYPE_NAMES.join(", ")}`;

export const FileTask = z
  .strictObject({
    ...taskFields,
    bash: z.union([ProgramText, BashConfig]).optional().describe(TASK_TYPES.bash.about),
    python: z.union([ProgramText, PythonConfig]).optional().describe(TASK_TYPES.python.about),
    fn: FnReference.optional(),
    http: z.union([HttpConfig.shape.url, HttpConfig]).optional().describe(TASK_TYPES.http.about),
    sql: SqlConfig.optional().describe(TASK_TYPES.sql.about),
    noop: NoopConfig.nullish().describe(TASK_TYPES.noop.about),
  })
  .superRefine((task, context) => {
    // `noop:` without a value is null, which is there.
    const given = TASK_TYPE_NAMES.filter((name) => task[name] !== undefined);
    if (given.length !== 1) context.addIssue({ code: "custom", message: ONE_EXECUTOR });
  });
export type FileTask = z.output<typeof FileTask>;

export const FileDefaults = z.strictObject(taskOptions).describe("What tasks have that do not say it themselves.");

export const FileDag = z
  .strictObject({
    ...dagFields,
    defaults: FileDefaults.optional(),
    tasks: z.array(FileTask).min(1, "a DAG has at least one task").max(MAX_TASKS_PER_RUN),
  })
  .superRefine(checkDates);
export type FileDag = z.output<typeof FileDag>;

/** What a program may write where a file is meant, before it is read. */
export type FileDagInput = z.input<typeof FileDag>;
