import type { z } from "zod";
import type { FileDagInput } from "../domain/definition/schema.ts";
import type { ParamSchema } from "../domain/model/params.ts";
import type { TriggerRule } from "../domain/model/task.ts";
import type { DockerConfig } from "../domain/model/docker-config.ts";
import type { BashConfig, HttpConfig, PythonConfig, SqlConfig } from "../domain/model/task-types.ts";
import type { ExecutorDefinition } from "../executors/definition.ts";

/** The types by which the compiler checks a pipeline: who depends on whom, and what passes between them. */

export type Outputs = Record<string, unknown>;
export type ParamSchemas = Record<string, ParamSchema>;

/** What is left of a value after its way through JSON: a Date arrives as text, a function not at all. */
export type Jsonified<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(): infer J }
      ? Jsonified<J>
      : T extends (...args: never) => unknown
        ? never
        : T extends readonly unknown[]
          ? { [K in keyof T]: Jsonified<T[K]> }
          : T extends object
            ? { [K in keyof T as T[K] extends (...args: never) => unknown ? never : K]: Jsonified<T[K]> }
            : undefined;

type TypeOf = {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  null: null;
  array: unknown[];
  object: Record<string, unknown>;
};

/** The value of a param with this schema. */
export type ParamValue<S> = S extends { enum: readonly (infer V)[] }
  ? V
  : S extends { type: infer T extends keyof TypeOf }
    ? TypeOf[T]
    : unknown;

export type ParamValues<P> = { [K in keyof P]: ParamValue<P[K]> };

/** What tasks leave for each other beside their outputs. */
export type XcomAccess = {
  /** Leaves a value under a key; it is kept when the function ends well. Throws for a key that cannot be one. */
  push(key: string, value: unknown): void;
  /** What a task named in `dependsOn` pushed under the key, or its output without one; undefined when there is none. */
  pull(taskId: string, key?: string): unknown;
};

/** What a function task receives. */
export type FnContext<In = Record<string, never>, Params = Record<string, unknown>> = {
  /** The accepted outputs of the tasks named in `dependsOn`. */
  outputs: In;
  /** Values under keys of one's own, to leave and to take. */
  xcom: XcomAccess;
  /** The values of the run: what it was triggered with, with the params' defaults. */
  params: Params;
  /** What the run was triggered with, as it was given. */
  conf: Record<string, unknown>;
  /** The task's variables, with their expressions evaluated; secrets come this way. */
  env: Record<string, string>;
  /** Times are ISO 8601. The interval is the time the run is about; both its ends are the same where it is none. */
  run: { id: string; dagId: string; logicalDate: string; intervalStart: string; intervalEnd: string };
  /** Aborts when the attempt must end: timeout, cancel, lost lease. */
  signal: AbortSignal;
  /** Stays the same when a result is delivered again: use it as an idempotency key towards other systems. */
  attemptId: string;
};

export type TaskFunction<In, Out, Params> = (context: FnContext<In, Params>) => Out | Promise<Out>;

type WrittenBash = z.input<typeof BashConfig>;
type WrittenPython = z.input<typeof PythonConfig>;

/** A command, or a script beside the DAG's file with its arguments. */
export type BashInput = Omit<WrittenBash, "command" | "script" | "args"> &
  ({ command: string; script?: never; args?: never } | { script: string; args?: string[]; command?: never });

/** A program's text or a file beside the DAG's, under an interpreter or in a virtual environment. */
export type PythonInput = Omit<WrittenPython, "code" | "file" | "interpreter" | "venv"> &
  ({ code: string; file?: never } | { file: string; code?: never }) &
  ({ interpreter?: string; venv?: never } | { venv: string; interpreter?: never });

export type HttpInput = z.input<typeof HttpConfig>;
export type SqlInput = z.input<typeof SqlConfig>;
export type DockerInput = z.input<typeof DockerConfig>;

/** How a task does its work. `In` is what it reads from its parents, `Out` what it leaves for its children. */
export type TaskExecutor<In, Out, Params = Record<string, unknown>> =
  | { readonly type: "bash"; readonly config: string | BashInput; readonly out?: Out }
  | { readonly type: "python"; readonly config: string | PythonInput; readonly out?: Out }
  | { readonly type: "http"; readonly config: string | HttpInput; readonly out?: Out }
  | { readonly type: "sql"; readonly config: SqlInput; readonly out?: Out }
  | { readonly type: "docker"; readonly config: string | DockerInput; readonly out?: Out }
  | { readonly type: "noop"; readonly config: Record<never, never>; readonly out?: Out }
  | { readonly type: "plugin"; readonly plugin: ExecutorDefinition; readonly config: unknown; readonly out?: Out }
  | { readonly type: "fn"; readonly run: TaskFunction<In, Out, Params>; readonly out?: Out };

/** What an http task leaves behind. */
export type HttpOutput<Body = unknown> = { status: number; headers: Record<string, string>; body: Body };

type FileTaskInput = FileDagInput["tasks"][number];

/** All of a task but its id and its executor; `dependsOn` takes ids that the DAG has. */
export type TaskOptions<Parent extends string = string, Rule extends TriggerRule = TriggerRule> = Omit<
  FileTaskInput,
  "id" | "dependsOn" | "triggerRule"
> & { dependsOn?: readonly Parent[]; triggerRule?: Rule };

/** All of a DAG but its id and its tasks. */
export type DagOptions<P extends ParamSchemas = ParamSchemas> = Omit<FileDagInput, "id" | "tasks" | "params"> & {
  params?: P;
};

/** Under `all_success` every parent has left its output; under any other rule one may be missing. */
export type Inputs<Known, Parent extends keyof Known, Rule> = [Rule] extends ["all_success"]
  ? Pick<Known, Parent>
  : Partial<Pick<Known, Parent>>;

/** Refuses, at compile time, an id that is already taken. */
export type NewId<Id extends string, Known> = Id extends keyof Known ? never : Id;
