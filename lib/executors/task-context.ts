import { keyTrouble, type ParentXcoms } from "#lib/domain/xcom.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import type { ExecutorContext, Exit, Stream } from "./executor.ts";
import { type HttpResponse, sendRequest } from "./http-request.ts";
import { environment, ofProcess } from "./process-task.ts";

/** One attempt of a task, as the `run` of a plugin sees it. */
export type TaskContext = {
  /** Which attempt this is. */
  attempt: {
    /** The same while this attempt lasts, also when it is delivered twice: the key by which another system can tell a repetition. */
    id: string;
    /** Rises with each attempt of the task, so that who remembers the highest can refuse one that comes late. */
    number: number;
    taskId: string;
    taskInstanceId: string;
    runId: string;
    dagId: string;
    /** What the run is for, as ISO 8601. */
    logicalDate: string;
    /** The time that the run is about, from its beginning up to its end, as ISO 8601; both are the same where it is none. */
    intervalStart: string;
    intervalEnd: string;
  };
  /** The values of the run: checked, with the defaults of the DAG's params. */
  params: Record<string, unknown>;
  /** What the run was triggered with, as it was given. */
  conf: Record<string, unknown>;
  /** The task's variables. A secret that it uses is in here or in the config by now, and nowhere else. */
  env: Record<string, string>;
  /** What the tasks in `dependsOn` have left: their outputs, and what else they pushed; each by task id. */
  inputs(): Promise<ParentXcoms>;
  /** What this task leaves beside its output. */
  xcom: {
    /** Leaves a value under a key, when the attempt ends well. Throws for a key that cannot be one. */
    push(key: string, value: unknown): void;
  };
  /**
   * Aborts when the attempt must end: its deadline, a cancel, a stop of the worker, a lost lease. Hand it to everything
   * that takes one; two seconds later the attempt is given up, whatever its code still does.
   */
  signal: AbortSignal;
  /** When the task's timeout has passed and `signal` aborts. */
  deadline: Date;
  /** Adds lines to the attempt's log. Secrets of the task are masked, here and in errors and outputs. */
  log: Record<"info" | "warn" | "error", (text: string) => void>;
  /**
   * Makes a request to where tasks of this worker may go: private addresses only with SLUICE_HTTP_ALLOW. Every status is
   * an answer; rejects when there is none, when the address is refused, and when `signal` aborts.
   */
  http(request: HttpRequest): Promise<HttpResponse>;
  /**
   * Runs a program in a folder of its own; it ends with the attempt, and what it prints is in the log. It takes no slot beside the task's
   * own: a type that runs programs has `slotClass: "process"`.
   */
  spawn(request: ProgramRequest): Promise<Exit>;
};

export type HttpRequest = {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** Redirects that are followed, each to an allowed address; 5 without it. */
  redirects?: number;
  /** The most of a response's body that is read: 1 MiB without it. */
  maxBytes?: number;
};

export type ProgramRequest = {
  file: string;
  args?: readonly string[];
  /** Beside the task's own variables and those that every process of a task has. */
  env?: Record<string, string>;
  /** Files that it finds in its folder, by name. */
  files?: Record<string, string>;
  /** Files of its folder to hand back when it ended well. */
  outputs?: readonly { name: string; maxBytes: number }[];
};

/** A context for one run of a plugin. `pushed` is what it has pushed so far; after `close` it says nothing any more. */
export function openTaskContext(context: ExecutorContext): {
  task: TaskContext;
  pushed: Record<string, unknown>;
  close(): void;
} {
  const { attempt, signal } = context;
  const pushed: Record<string, unknown> = {};
  let spawned = 0;
  let open = true;
  const write =
    (stream: Stream) =>
    (text: string): void => {
      if (open) context.log(stream, text.endsWith("\n") ? text : `${text}\n`);
    };
  const { attemptId: id, number, taskId, taskInstanceId, runId, dagId } = attempt;
  const { logicalDate, intervalStart, intervalEnd } = attempt;
  const task: TaskContext = {
    attempt: { id, number, taskId, taskInstanceId, runId, dagId, logicalDate, intervalStart, intervalEnd },
    params: attempt.params,
    conf: attempt.conf,
    env: context.env,
    inputs: () => context.inputs(),
    xcom: {
      push(key, value) {
        const trouble = keyTrouble(key);
        if (trouble !== undefined) throw new Error(trouble);
        pushed[key] = value;
      },
    },
    signal,
    deadline: new Date(Date.now() + context.timeoutMs),
    log: { info: write("stdout"), warn: write("stderr"), error: write("stderr") },
    http: async ({ url, method = "GET", headers = {}, body, redirects = 5, maxBytes = MAX_OUTPUT_BYTES }) =>
      sendRequest(
        { url: new URL(url), method, headers: { "user-agent": "sluice", ...lowerCased(headers) }, body },
        { guard: context.network, redirects, maxBytes, signal },
      ),
    spawn({ file, args = [], env, files = {}, outputs }) {
      // One that goes on, or is being removed, is another's.
      const folder = `${context.workDir}-${++spawned}`;
      return context.spawn({
        file,
        args,
        env: { ...ofProcess(folder, { ...context.env, ...env }), ...environment(context), ...context.env, ...env },
        folder,
        files,
        ...(outputs && { outputs }),
      });
    },
  };
  return {
    task,
    pushed,
    close() {
      open = false;
    },
  };
}

const lowerCased = (headers: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
