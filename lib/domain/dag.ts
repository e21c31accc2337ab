import { z } from "zod";
import { canonicalJson, sha256 } from "./canonical.ts";
import { MAX_TASKS_PER_RUN } from "./ids.ts";
import type { SlotClass } from "./states.ts";

/**
 * The canonical model of a DAG: plain data. YAML, JSON and the TypeScript builder all produce it, the
 * database stores it per version, and everything behind it reads only this.
 */

export const DagId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "a DAG id has 1 to 64 of a-z, 0-9, _ and -, and starts with a letter or digit");

export const TaskId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
    "a task id has 1 to 64 of A-Z, a-z, 0-9, _ and -, and starts with a letter or digit",
  );

export const QueueName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9_-]{0,31}$/,
    "a queue name has 1 to 32 of a-z, 0-9, _ and -, and starts with a letter or digit",
  );

/** NUL cannot be stored in Postgres text nor passed in a process's environment. */
const Text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((text) => !text.includes("\0"), "must not contain a NUL character");

const EnvName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment variable's name has A-Z, a-z, 0-9 and _");

/** Linux takes at most 128 KiB for one argument or variable of a program. */
const MAX_ARGUMENT_BYTES = 100_000;
const Argument = Text(MAX_ARGUMENT_BYTES).refine(
  (text) => Buffer.byteLength(text) <= MAX_ARGUMENT_BYTES,
  `must not have more than ${MAX_ARGUMENT_BYTES} bytes`,
);

export const BashConfig = z.strictObject({
  command: Argument.min(1).describe("The shell text; runs with `bash -euo pipefail`."),
  env: z.record(EnvName, Argument).default({}).describe("Environment variables of the task."),
});

export const FnConfig = z.strictObject({
  module: z.string().min(1).describe("The module's path, relative to the DAG's own file."),
  export: z
    .string()
    .min(1)
    .describe("The exported function; `default.<task>` is a function written inside a builder DAG."),
});

const taskBase = {
  id: TaskId,
  dependsOn: z.array(TaskId).default([]).describe("Ids of the tasks that must succeed first."),
  queue: QueueName.default("default").describe("The task runs on workers that serve this queue."),
};

export const TaskSpec = z.discriminatedUnion("type", [
  z.strictObject({ ...taskBase, type: z.literal("bash"), config: BashConfig }),
  z.strictObject({ ...taskBase, type: z.literal("fn"), config: FnConfig }),
]);
export type TaskSpec = z.infer<typeof TaskSpec>;
export type TaskType = TaskSpec["type"];

export const dagFields = {
  id: DagId,
  description: Text(4_096).optional(),
  owner: Text(128).optional(),
  tags: z.array(Text(64).min(1)).max(32).default([]),
};

export const DagSpec = z.strictObject({
  ...dagFields,
  tasks: z.array(TaskSpec).min(1, "a DAG has at least one task").max(MAX_TASKS_PER_RUN),
  bundle: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional()
    .describe("Hash of the code its functions come from."),
});
export type DagSpec = z.infer<typeof DagSpec>;

/** Which of a worker's slots a task of this type takes. */
export const SLOT_CLASS_OF = { bash: "process", fn: "function" } as const satisfies Record<TaskType, SlotClass>;

/** The same hash means the same behaviour: it covers every field and, through `bundle`, the code. */
export function specHash(spec: DagSpec): string {
  return sha256(canonicalJson(spec));
}
