import { z } from "zod";
import { storableProblems, textTrouble } from "../storable.ts";

/** The small texts a definition is made of, each with the rule that its readers rely on. */

export const slug = (what: string, max: number, example: string) =>
  z
    .string()
    .regex(
      new RegExp(`^[a-z0-9][a-z0-9_-]{0,${max - 1}}$`),
      `${what} has 1 to ${max} of a-z, 0-9, _ and -, and starts with a letter or digit, like ${example}`,
    );

export const DagId = slug("a DAG id", 64, "daily-report");
export const QueueName = slug("a queue name", 32, "gpu");
export const WorkerLabel = slug("a label of a worker", 63, "gpu");
export const PoolName = slug("a pool name", 64, "warehouse");
export const ServiceName = slug("a service name", 64, "billing-api");

/** A type of task is a key beside the options of a task, and a word of its own in a database. */
export const TypeName = slug("a type of task", 64, "acme-mail");

const TASK_ID = "has 1 to 64 of A-Z, a-z, 0-9, _ and -, and starts with a letter or digit";
export const TaskId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, `a task id ${TASK_ID}, like load_orders`);

export const GroupPath = z
  .string()
  .max(256)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_-]*(\/[A-Za-z0-9][A-Za-z0-9_-]*)*$/,
    "a group is a name, or names joined by / for a group in a group, like load/orders",
  );

/** What can be stored; NUL cannot be passed in a process's environment either. */
export const Text = (max: number) => z.string().max(max).superRefine(checkText);

function checkText(text: string, context: z.RefinementCtx): void {
  const message = textTrouble(text);
  if (message !== undefined) context.addIssue({ code: "custom", message });
}

/** Plain data that can be stored: the rule of `Text` holds for each text and key in it. */
export const StorableData = z.json().superRefine(checkStorable);

/** The same for whatever is made of plain data. What is told of a text by its own rule is not told again. */
export function checkStorable(value: unknown, context: z.RefinementCtx): void {
  if (context.issues.length > 0) return;
  for (const { path, message } of storableProblems(value)) context.addIssue({ code: "custom", path, message });
}

/** Linux takes at most 128 KiB for one argument or variable of a program. */
const MAX_ARGUMENT_BYTES = 100_000;
export const Argument = Text(MAX_ARGUMENT_BYTES).refine(
  (text) => Buffer.byteLength(text) <= MAX_ARGUMENT_BYTES,
  `must not have more than ${MAX_ARGUMENT_BYTES} bytes`,
);

export const EnvName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment variable's name has A-Z, a-z, 0-9 and _, like BATCH_SIZE");

/** SQL is program text too, and takes values as `$1`, where they are data whatever they hold. */
export const QueryText = Argument.min(1).refine(
  (text) => !text.includes("${{"),
  "an expression cannot stand in a query, where its value would run as SQL; write $1 in its place and put it into params",
);

/** Text that is run by an interpreter: a value pasted into it would be code, so it takes none. */
export const ProgramText = Argument.min(1).refine(
  (text) => !text.includes("${{"),
  "an expression cannot stand in program text, where its value would run as code; put it into env and read the variable",
);

const withoutExpression = (text: string): boolean => !text.includes("${{");
const segmentsOf = (path: string): string[] => path.split("/");

/** A file of the DAGs folder. It is read with the DAG and belongs to its version, so no run can choose it. */
export const SourcePath = Text(1_024)
  .min(1)
  .refine(withoutExpression, "an expression cannot choose the file, which is read when the DAG is loaded")
  .refine((path) => !path.startsWith("/"), "must be a path relative to the DAG's own file, like ./load.sh");

/** Absolute, or below the attempt's own folder. */
export const WorkingFolder = Text(1_024)
  .min(1)
  .refine(
    (path) => path.startsWith("/") || !segmentsOf(path).includes(".."),
    "must be an absolute path, or a folder of the attempt's own without .. in it",
  );

/** Of the worker's machine. An expression may give it. */
export const AbsolutePath = Text(1_024).refine(
  (path) => path.startsWith("/") || !withoutExpression(path),
  "must be an absolute path, like /opt/venvs/etl",
);
