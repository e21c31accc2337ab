import type { Json } from "#lib/domain/canonical.ts";
import type { Deferral } from "#lib/domain/deferral.ts";
import type { ConfigOf, TASK_TYPES, TaskType } from "#lib/domain/model/task-types.ts";
import type { TypeFacts } from "#lib/domain/model/type-facts.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import type { StandardSchema } from "#lib/domain/standard-schema.ts";
import type { ParentXcoms } from "#lib/domain/xcom.ts";
import type { AddressGuard } from "./http-address.ts";

export type Stream = "stdout" | "stderr" | "system";

/** A process to run in a session of its own; what it prints goes to the attempt's log. */
export type SpawnRequest = {
  file: string;
  args: readonly string[];
  env: Record<string, string>;
  /** Its own, where it runs: made for it with `files` in it, by name, and removed when it has ended. */
  folder: string;
  /** Where it runs instead: absolute, or below `folder`, where it is made. */
  cwd?: string | undefined;
  files: Record<string, string>;
  /** Files of the folder to hand back when it ended well, those with no more than so many bytes. */
  outputs?: readonly { name: string; maxBytes: number }[];
};

/** A container to run; what it prints goes to the attempt's log. */
export type ContainerRequest = {
  /** By it the container is found again, whatever happens. */
  name: string;
  /** For people who list containers. */
  labels: Record<string, string>;
  image: string;
  pull: "missing" | "always" | "never";
  auth?: { username: string; password: string } | undefined;
  /** Absent: as the image says; the same for `command`, `user` and `workdir`. */
  entrypoint?: readonly string[] | undefined;
  command?: readonly string[] | undefined;
  user?: string | undefined;
  workdir?: string | undefined;
  env: Record<string, string>;
  mounts: readonly { source: string; target: string; readOnly: boolean }[];
  network: string;
  capabilities: readonly string[];
  /** A folder of the container, made for it with `files` in it, by name; anybody in the container may write there. */
  folder: string;
  files: Record<string, string>;
  outputs: readonly { name: string; maxBytes: number }[];
};

/** What an attempt used: the most memory at one time, and time of processors. Absent where the system does not tell. */
export type Usage = { peakMemoryBytes?: number | undefined; cpuMs?: number | undefined };

/** A file, if there is one: its size, and its text unless that is too much; or why it is not read. */
export type HandedBack = { size: number; text: string } | { trouble: string } | undefined;

/** How a process ended; `error` when it could not be started at all, or be followed to its end. */
export type Exit = {
  code: number | null;
  signal: string | null;
  error?: string | undefined;
  /** What kind of `error` it is, where more is known. */
  reason?: string | undefined;
  /** The files asked for, in that order. */
  outputs?: readonly HandedBack[] | undefined;
  usage?: Usage | undefined;
  /** The system killed for want of memory: the limit in MiB, or 0 when the process had none of its own. */
  outOfMemory?: number | undefined;
};

/** A function of the DAG's code, called in a warm child process. */
export type FunctionCall = { bundle: string; module: string; export: string; argument: Record<string, Json> };
export type CallResult =
  | { ok: true; value: unknown; pushed?: Record<string, unknown> | undefined }
  /** `reason` when it is about what the function leaves, and not about what it does. */
  | { ok: false; error: string; reason?: string | undefined }
  | ({ ok: "not yet" } & Deferral);

/** One attempt, as its executor sees it. An executor knows nothing of runs' states, queues or the database. */
export type ExecutorContext = {
  attempt: RunTimes<string> & {
    attemptId: string;
    number: number;
    taskInstanceId: string;
    taskId: string;
    runId: string;
    dagId: string;
    conf: Record<string, unknown>;
    /** What the task sees of conf: checked, with the defaults of the DAG's params. */
    params: Record<string, unknown>;
    bundle: string | undefined;
  };
  /** The task's own variables. Secrets that it may use are in here and in its config, and nowhere else. */
  env: Record<string, string>;
  /** What the parents have left; fetched when asked for. */
  inputs(): Promise<ParentXcoms>;
  /** Aborts when the attempt must end: its timeout, shutdown or a lost lease. */
  signal: AbortSignal;
  /** How long the attempt may take, for what goes on outside the worker; `signal` keeps it here. */
  timeoutMs: number;
  /** A name for a folder of the attempt's own, for what is spawned. */
  workDir: string;
  /** A file that says `{}`, which what is spawned can read and not change. */
  nothing?: string | undefined;
  /** Which addresses the task may reach. */
  network: AddressGuard;
  /** The text of a file that belongs to the DAG's version. */
  sourceOf(path: string): Promise<string>;
  /** Adds a line of the executor's own to the attempt's log. */
  log(stream: Stream, text: string): void;
  spawn(request: SpawnRequest): Promise<Exit>;
  contain(request: ContainerRequest): Promise<Exit>;
  call(call: FunctionCall): Promise<CallResult>;
};

/** How an attempt ended. Expected ends are values; a throw is a bug in the executor. `Out` is what it leaves when it ends well. */
export type Outcome<Out = unknown> = (
  | {
      kind: "success";
      /** Kept as JSON, at most 1 MiB of it; undefined is none. */
      output: Out;
      /** What else it leaves, by key. */
      pushed?: Readonly<Record<string, unknown>> | undefined;
      exitCode?: number | undefined;
    }
  /** There was nothing to do. */
  | { kind: "skipped"; reason: string; exitCode?: number | undefined }
  /** `reason` is a word for programs, such as HTTP_STATUS, which a retry policy may name; `error` is for people. */
  | {
      kind: "failed";
      reason: string;
      error: string;
      exitCode?: number | undefined;
      httpStatus?: number | undefined;
      /** Another attempt would end the same. */
      isFinal?: boolean;
    }
  /**
   * Not ended: it is to look again, in the same attempt and under the same id, and holds nothing meanwhile. How soon that
   * may be, and for how long it goes on, is decided by `nextLook`.
   */
  | ({ kind: "deferred" } & Deferral)
) & { usage?: Usage | undefined };

/** A type of task with everything about it: what people see, what a config is, and how it runs. */
export type Executor<Config = unknown> = TypeFacts & {
  type: string;
  config: StandardSchema<unknown, Config>;
  run(context: ExecutorContext, config: Config): Promise<Outcome>;
};

/** A built-in one: its entry among the task types of the model, and how it runs. */
export type BuiltIn<T extends TaskType> = (typeof TASK_TYPES)[T] & {
  type: T;
  run(context: ExecutorContext, config: ConfigOf<T>): Promise<Outcome>;
};
