import { z } from "zod";
import { connectionProblems, registryProblems } from "../definition/connection-problems.ts";
import type { Problem } from "../graph.ts";
import { Duration } from "./duration.ts";
import { DockerConfig } from "./docker-config.ts";
import { areApart, CODES_APART, exitCodeFields } from "./exit-codes.ts";
import { FnReference, readFnReference, writeFnReference } from "./fn-reference.ts";
import {
  AbsolutePath,
  Argument,
  ProgramText,
  QueryText,
  SourcePath,
  StorableData,
  Text,
  WorkingFolder,
} from "./names.ts";
import type { TypeFacts } from "./type-facts.ts";

/**
 * What each type of task takes as its config. In a file and in the builder the type is the key that holds the
 * config; a text there is the member named in `shorthand`.
 */

/** What a program that is a process of its own takes, whatever its language. */
const processFields = {
  args: z.array(Argument).max(256).default([]).describe("Arguments of the program."),
  cwd: WorkingFolder.optional().describe(
    "The folder it runs in: an absolute one of the worker's machine, or one below the attempt's private folder, where it is made. Without it, the private folder.",
  ),
  ...exitCodeFields,
};

const isOne = (...values: unknown[]): boolean => values.filter((value) => value !== undefined).length === 1;

export const BashConfig = z
  .strictObject({
    command: ProgramText.optional().describe("The shell text."),
    script: SourcePath.optional().describe(
      "A file with the shell text, relative to the DAG's own file. It is part of the version.",
    ),
    ...processFields,
    args: processFields.args.describe("Arguments of the script: `$1`, `$2` and so on."),
    strict: z.boolean().default(true).describe("Run with `-euo pipefail`."),
  })
  .refine(({ command, script }) => isOne(command, script), "bash takes exactly one of command, script")
  .refine(
    ({ command, args }) => command === undefined || args.length === 0,
    "args are those of a script; a command reads variables, which env sets",
  )
  .refine(areApart, CODES_APART);

export const PythonConfig = z
  .strictObject({
    code: ProgramText.optional().describe("The program text."),
    file: SourcePath.optional().describe(
      "A file with the program text, relative to the DAG's own file. It is part of the version.",
    ),
    ...processFields,
    interpreter: Text(1_024)
      .min(1)
      .optional()
      .describe("The interpreter, a program's name or path; `python3` without it."),
    venv: AbsolutePath.optional().describe(
      "The folder of a virtual environment on the worker's machine: its interpreter runs the program, as if it were activated.",
    ),
  })
  .refine(({ code, file }) => isOne(code, file), "python takes exactly one of code, file")
  .refine(
    ({ interpreter, venv }) => interpreter === undefined || venv === undefined,
    "python takes an interpreter or a venv, not both: a venv has its own interpreter",
  )
  .refine(areApart, CODES_APART);

export const FnConfig = z.strictObject({
  module: z.string().min(1).describe("The module's path, relative to the DAG's own file."),
  export: z
    .string()
    .min(1)
    .describe("The exported function; `default.<task>` is a function written inside a builder DAG."),
});

export const HTTP_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

/** Where a message ends and what becomes of its connection is for who sends it to say: a wrong length makes one request two. */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

function checkHeaders(headers: Record<string, unknown>, context: z.RefinementCtx): void {
  for (const name of Object.keys(headers)) {
    if (!CONNECTION_HEADERS.has(name.toLowerCase())) continue;
    const message = "is set by Sluice, which knows the body and the connection; leave it out";
    context.addIssue({ code: "custom", path: [name], message });
  }
}

const requestFields = {
  url: Argument.min(1).describe("http or https. Private addresses are refused unless the worker allows them."),
  method: z.enum(HTTP_METHODS).default("GET"),
  headers: z.record(Text(256), Argument).superRefine(checkHeaders).default({}),
  query: z.record(Text(256), Argument).default({}).describe("Added to the address, encoded."),
  json: StorableData.optional().describe("The body, as JSON."),
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

export type TaskTypeEntry = TypeFacts & {
  config: z.ZodObject;
  /** The member that names a file beside the DAG's own, which is part of the version. */
  source?: string;
  /** How a definition file writes the config, when that is neither the config itself nor the text of `shorthand`. */
  face?: { schema: z.ZodType; read(written: unknown): object; write(config: unknown): string };
  /** What is wrong with a config that its schema allows, before its expressions have values. */
  problems?(config: unknown): Problem[];
};

/**
 * Every built-in type of task but for what runs it, which is in lib/executors. Files, the model, the reference and the
 * builder's checks are made from this table.
 */
export const TASK_TYPES = {
  bash: {
    displayName: "Bash",
    icon: "terminal",
    about: "A shell command, as a process.",
    config: BashConfig,
    slotClass: "process",
    shorthand: "command",
    source: "script",
    visible: ["args", "cwd"],
  },
  python: {
    displayName: "Python",
    icon: "code",
    about: "A Python program, as a process.",
    config: PythonConfig,
    slotClass: "process",
    shorthand: "code",
    source: "file",
    visible: ["args", "cwd", "interpreter", "venv"],
  },
  fn: {
    displayName: "Function",
    icon: "function",
    about: "A TypeScript function, in a warm process of the worker. In a file: `./module.ts#export`.",
    config: FnConfig,
    slotClass: "function",
    shorthand: undefined,
    visible: [],
    face: {
      schema: FnReference,
      read: (written: string) => readFnReference(written),
      write: (config: z.output<typeof FnConfig>) => writeFnReference(config),
    },
  },
  http: {
    displayName: "HTTP",
    icon: "globe",
    about: "An HTTP request, inside the worker.",
    config: HttpConfig,
    slotClass: "inline",
    shorthand: "url",
    visible: [],
  },
  sql: {
    displayName: "SQL",
    icon: "database",
    about: "A statement for a Postgres database, sent by the worker. Its output are the rows.",
    config: SqlConfig,
    slotClass: "inline",
    shorthand: undefined,
    visible: [],
    problems: (config: z.output<typeof SqlConfig>) => connectionProblems(config),
  },
  docker: {
    displayName: "Docker",
    icon: "box",
    about: "A container of an image, run by the worker's container engine.",
    config: DockerConfig,
    slotClass: "process",
    shorthand: "image",
    visible: ["image", "command", "entrypoint", "user", "workdir", "mounts"],
    problems: (config: z.output<typeof DockerConfig>) => registryProblems(config),
  },
  noop: {
    displayName: "No-op",
    icon: "circle",
    about: "Does nothing: a point to wait for.",
    config: NoopConfig,
    slotClass: "inline",
    shorthand: undefined,
    visible: [],
  },
} as const satisfies Record<string, TaskTypeEntry>;

/** The file that a task's program is in, and the member that names it. */
export function sourceOf(task: { type: string; config: object }): { member: string; file: string } | undefined {
  const member = builtInType(task.type)?.source;
  const file = member === undefined ? undefined : (task.config as Record<string, unknown>)[member];
  return member === undefined || typeof file !== "string" ? undefined : { member, file };
}

export type TaskType = keyof typeof TASK_TYPES;
export type ConfigOf<T extends TaskType> = z.output<(typeof TASK_TYPES)[T]["config"]>;

export const TASK_TYPE_NAMES = Object.keys(TASK_TYPES) as [TaskType, ...TaskType[]];

const ENTRIES: ReadonlyMap<string, TaskTypeEntry> = new Map(Object.entries(TASK_TYPES));

/** The built-in type of that name, if there is one. */
export function builtInType(type: string): TaskTypeEntry | undefined {
  return ENTRIES.get(type);
}
