import { z } from "zod";
import type { SlotClass } from "../states.ts";
import { Duration } from "./duration.ts";
import { Argument, ProgramText, QueryText, StorableData, Text } from "./names.ts";

/**
 * What each type of task takes as its config. In a file and in the builder the type is the key that holds the
 * config; a text there is the member named in `shorthand`.
 */

export const BashConfig = z.strictObject({
  command: ProgramText.describe("The shell text; runs with `bash -euo pipefail`."),
  skipOn: z.array(z.int().min(1).max(255)).max(16).default([]).describe("Exit codes that end the task `skipped`."),
});

export const PythonConfig = z.strictObject({
  code: ProgramText.describe("The program text."),
  args: z.array(Argument).max(256).default([]).describe("Arguments of the program."),
  interpreter: Text(1_024)
    .min(1)
    .default("python3")
    .describe("The interpreter, for example one in a virtual environment."),
  skipOn: z.array(z.int().min(1).max(255)).max(16).default([]).describe("Exit codes that end the task `skipped`."),
});

export const FnConfig = z.strictObject({
  module: z.string().min(1).describe("The module's path, relative to the DAG's own file."),
  export: z
    .string()
    .min(1)
    .describe("The exported function; `default.<task>` is a function written inside a builder DAG."),
});

export const HTTP_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

const requestFields = {
  url: Argument.min(1).describe("http or https. Private addresses are refused unless the worker allows them."),
  method: z.enum(HTTP_METHODS).default("GET"),
  headers: z.record(Text(256), Argument).default({}),
  query: z.record(Text(256), Argument).default({}).describe("Added to the address, encoded."),
  json: z.json().optional().describe("The body, as JSON."),
  form: z.record(Text(256), Argument).optional().describe("The body, as a submitted form."),
  body: Argument.optional().describe("The body, as it is."),
  expect: z
    .array(z.int().min(100).max(599))
    .max(100)
    .default([])
    .describe("Statuses that are a success; without it, 200 to 299 are."),
  redirects: z.int().min(0).max(20).default(5).describe("Redirects that are followed."),
  responseTimeout: Duration().default("1m").describe("For each request, redirects included."),
};

type Bodies = { json?: unknown; form?: unknown; body?: unknown };
const hasOneBody = ({ json, form, body }: Bodies): boolean =>
  [json, form, body].filter((value) => value !== undefined).length <= 1;

export const HttpConfig = z
  .strictObject(requestFields)
  .refine(hasOneBody, "http takes at most one of json, form, body");

/** Without a body of its own a callback sends what happened. */
export const CallbackRequest = z
  .strictObject({
    ...requestFields,
    method: z.enum(HTTP_METHODS).default("POST"),
    responseTimeout: Duration().default("10s").describe("For the request, redirects included; at most a minute."),
  })
  .refine(hasOneBody, "http takes at most one of json, form, body");

export const SqlConfig = z.strictObject({
  connection: Argument.min(1).describe(
    "The address of a Postgres, `${{ secrets.NAME }}`; or as a text without a password, postgres://user@host/database.",
  ),
  query: QueryText.describe("One statement; `$1`, `$2` and so on stand for the values of `params`."),
  params: z
    .array(StorableData)
    .max(1_000)
    .default([])
    .describe("The values, in order. A list is an array of Postgres."),
  maxRows: z.int().min(1).max(100_000).default(1_000).describe("With more rows the task fails."),
});

export const NoopConfig = z.strictObject({});

type TaskTypeEntry = {
  config: z.ZodType;
  /** Which of a worker's slots the task takes. */
  slotClass: SlotClass;
  /** The member that a plain text stands for. */
  shorthand: string | undefined;
  /** Members with expressions that other users of the machine can read while the task runs: no place for a secret. */
  visible: readonly string[];
  about: string;
};

/** Every type of task there is. */
export const TASK_TYPES = {
  bash: {
    config: BashConfig,
    slotClass: "process",
    shorthand: "command",
    visible: [],
    about: "A shell command, as a process.",
  },
  python: {
    config: PythonConfig,
    slotClass: "process",
    shorthand: "code",
    visible: ["args", "interpreter"],
    about: "A Python program, as a process.",
  },
  fn: {
    config: FnConfig,
    slotClass: "function",
    shorthand: undefined,
    visible: [],
    about: "A TypeScript function, in a warm process of the worker. In a file: `./module.ts#export`.",
  },
  http: {
    config: HttpConfig,
    slotClass: "inline",
    shorthand: "url",
    visible: [],
    about: "An HTTP request, inside the worker.",
  },
  sql: {
    config: SqlConfig,
    slotClass: "inline",
    shorthand: undefined,
    visible: [],
    about: "A statement for a Postgres database, sent by the worker. Its output are the rows.",
  },
  noop: {
    config: NoopConfig,
    slotClass: "inline",
    shorthand: undefined,
    visible: [],
    about: "Does nothing: a point to wait for.",
  },
} as const satisfies Record<string, TaskTypeEntry>;

export type TaskType = keyof typeof TASK_TYPES;
export const TASK_TYPE_NAMES = Object.keys(TASK_TYPES) as [TaskType, ...TaskType[]];
