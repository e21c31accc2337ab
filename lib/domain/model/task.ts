import { z } from "zod";
import { TaskCallbacks } from "./callbacks.ts";
import { Duration } from "./duration.ts";
import {
  Argument,
  EnvName,
  GroupPath,
  PoolName,
  QueueName,
  ServiceName,
  TaskId,
  Text,
  TypeName,
  WorkerLabel,
} from "./names.ts";
import { Resources } from "./resources.ts";
import { Retries } from "./retries.ts";
import { type ConfigOf, TASK_TYPES, type TaskType } from "./task-types.ts";

/** Airflow's names and meanings. */
export const TRIGGER_RULES = [
  "all_success",
  "all_failed",
  "all_done",
  "all_skipped",
  "one_success",
  "one_failed",
  "one_done",
  "none_failed",
  "none_skipped",
  "none_failed_min_one_success",
  "all_done_min_one_success",
  "always",
] as const;
export type TriggerRule = (typeof TRIGGER_RULES)[number];

export const PRIORITIES = ["high", "medium", "low"] as const;
export type Priority = (typeof PRIORITIES)[number];

export const Env = z
  .record(EnvName, Argument)
  .default({})
  .describe("Environment variables of the task's process; a function gets them as `env`.");

/** What a task has beside its id, type and config; a DAG's `defaults` may hold most of it. */
export const taskOptions = {
  triggerRule: z
    .enum(TRIGGER_RULES)
    .default("all_success")
    .describe("When the task may start, by how its parents ended."),
  retries: Retries.describe("A number of retries, or how they are made."),
  timeout: Duration()
    .default("1d")
    .describe(
      "An attempt that takes longer is ended as failed. One that waits (`notYet`) looks for the last time then.",
    ),
  sla: Duration()
    .optional()
    .describe(
      "The task should have ended this long after its run began. Kept with the version; nothing acts on it yet.",
    ),
  xcomTtl: Duration()
    .optional()
    .describe("How long what the task leaves for others is kept; without it, as long as its run."),
  pool: PoolName.optional().describe("The pool whose slots the task takes."),
  slots: z.int().min(1).max(1_000).default(1).describe("Slots of the pool it takes."),
  queue: QueueName.default("default").describe("The task runs on workers that serve this queue."),
  workerLabels: z
    .array(WorkerLabel)
    .max(16)
    .default([])
    .describe("Labels that its worker must have, all of them (`SLUICE_LABELS` of the worker)."),
  priority: z
    .enum(PRIORITIES)
    .optional()
    .describe(
      "Its share of its lane: of 21 tasks that are admitted, 16 are `high`, 4 `medium` and 1 `low`. Without it, the DAG's.",
    ),
  resources: Resources.optional().describe(
    "What the task needs of a worker: it goes to one that has so much left of what its tasks may ask for. A task that is a container gets no more than it asks for; nor does a process, where the worker can write control groups.",
  ),
  env: Env,
  uses: z
    .array(ServiceName)
    .max(32)
    .default([])
    .describe("External services the task calls. Kept with the version; nothing acts on it yet."),
  callbacks: TaskCallbacks.prefault({}).describe(
    "Requests that are made when the task ended or is to be retried; without a body of their own they send what happened.",
  ),
};

export const taskFields = {
  id: TaskId.describe("The task's name, unique in its DAG."),
  name: Text(256).min(1).optional().describe("What people see instead of the id."),
  description: Text(4_096).optional(),
  dependsOn: z.array(TaskId).default([]).describe("Ids of the tasks it waits for."),
  condition: Text(8_192).min(1).optional().describe("An expression; when it is false the task is skipped."),
  group: GroupPath.optional().describe("The group it belongs to. Kept with the version; nothing acts on it yet."),
  ...taskOptions,
};

/** What every task has, whatever its type. */
export const TaskCommon = z.strictObject(taskFields);
type Common = z.output<typeof TaskCommon>;

const PluginTask = z.strictObject({
  ...taskFields,
  type: TypeName,
  config: z.record(z.string(), z.json()),
});

/** A task of a built-in type: its config is as the type's schema makes it, defaults included. */
type TaskOf<T extends TaskType> = Common & { type: T; config: ConfigOf<T> };

/** A task; the config of a plugin's type is as it was written, because only the plugin can read it. */
export type TaskSpec = { [T in TaskType]: TaskOf<T> }[TaskType] | z.output<typeof PluginTask>;

/** True for a task of that built-in type; no plugin may take its name. */
export function isOfType<T extends TaskType>(task: TaskSpec, type: T): task is TaskOf<T> {
  return task.type === type;
}

const BY_TYPE: ReadonlyMap<string, z.ZodType> = new Map(
  Object.entries(TASK_TYPES).map(([type, { config }]) => [
    type,
    z.strictObject({ ...taskFields, type: z.literal(type), config }),
  ]),
);

export const TaskSpec: z.ZodType<TaskSpec> = z.looseObject({ type: z.string() }).transform((task, context) => {
  const read = (BY_TYPE.get(task.type) ?? PluginTask).safeParse(task);
  if (read.success) return read.data as TaskSpec;
  for (const issue of read.error.issues) context.issues.push({ ...issue, input: task } as z.core.$ZodRawIssue);
  return z.NEVER;
});
