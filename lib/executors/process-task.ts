import path from "node:path";
import { messageOf } from "#lib/domain/errors.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import type { ExecutorContext, Exit, HandedBack, Outcome } from "./executor.ts";

/** All a task's process is given: nothing of the worker's own environment but these. */
export const INHERITED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Files by the variables that name them, beside what a task leaves. */
const INPUTS = {
  SLUICE_INPUTS: "inputs.json",
  SLUICE_CONF: "conf.json",
  SLUICE_PARAMS: "params.json",
  SLUICE_XCOMS: "xcoms.json",
};
const OUTPUT = "output.json";
const PUSHED = "push.jsonl";
/** Of all that a task pushes together; each value has its own bound. */
const MAX_PUSHED_BYTES = 16 * MAX_OUTPUT_BYTES;

export type Program = {
  file: string;
  args: readonly string[];
  /** Beside those that every task finds in its folder. */
  files?: Record<string, string>;
  /** On top of the task's own variables. */
  env?: Record<string, string>;
  cwd?: string | undefined;
  /** What people call it. */
  what: string;
};

/** What exit codes mean beside success and failure: "nothing to do", and "not again". */
type ExitCodes = { skipOn: readonly number[]; failOn: readonly number[] };

/** Runs one program as the task: inputs and conf in files, output from a file, an exit code as the verdict. */
export async function runProcessTask(context: ExecutorContext, program: Program, codes: ExitCodes): Promise<Outcome> {
  const { workDir: folder } = context;
  const { env, files, outputs } = await taskFiles(context, folder, context.nothing);
  const exit = await context.spawn({
    file: program.file,
    args: program.args,
    env: { ...ofProcess(folder, env), ...env, ...program.env },
    folder,
    cwd: program.cwd,
    files: { ...files, ...program.files },
    outputs,
  });
  return outcomeOf(exit, program.what, codes);
}

/**
 * What a process on the worker's machine finds in its environment beside what is the task's, `own`. For LANG a program
 * reads a dozen files as it starts, for LC_CTYPE one of them, and in this locale the others say what C says. LC_CTYPE
 * would stand above a LANG of the task's own. Without a SHELL, bash looks the user up for one.
 */
export function ofProcess(folder: string, own: Readonly<Record<string, string>>): Record<string, string> {
  const locale: Record<string, string> = own["LANG"] === undefined ? { LC_CTYPE: "C.UTF-8" } : {};
  return { PATH: INHERITED_PATH, SHELL: "/bin/sh", HOME: folder, ...locale };
}

type TaskFiles = {
  env: Record<string, string>;
  files: Record<string, string>;
  outputs: { name: string; maxBytes: number }[];
};

/**
 * What a program finds in its folder and in its variables, wherever it runs, and which files it may leave there. Most
 * inputs say nothing: where there is a file for that, `nothing`, none is made.
 */
export async function taskFiles(context: ExecutorContext, folder: string, nothing?: string): Promise<TaskFiles> {
  const { attempt } = context;
  const { outputs, xcoms } = await context.inputs();
  const inputs = {
    SLUICE_INPUTS: JSON.stringify(outputs),
    SLUICE_CONF: JSON.stringify(attempt.conf),
    SLUICE_PARAMS: JSON.stringify(attempt.params),
    SLUICE_XCOMS: JSON.stringify(xcoms),
  };
  const names: Record<string, string> = {
    SLUICE_OUTPUT: path.join(folder, OUTPUT),
    SLUICE_XCOM_PUSH: path.join(folder, PUSHED),
  };
  const files: Record<string, string> = {};
  for (const [variable, name] of Object.entries(INPUTS) as [keyof typeof INPUTS, string][]) {
    const text = inputs[variable];
    const isMade = nothing === undefined || text !== "{}";
    names[variable] = isMade ? path.join(folder, name) : nothing;
    if (isMade) files[name] = text;
  }
  return {
    env: { ...environment(context), ...context.env, ...names },
    files,
    outputs: [
      { name: OUTPUT, maxBytes: MAX_OUTPUT_BYTES },
      { name: PUSHED, maxBytes: MAX_PUSHED_BYTES },
    ],
  };
}

/** The end of a program that was asked for the outputs of `taskFiles`. */
export function outcomeOf(exit: Exit, what: string, codes: ExitCodes): Outcome {
  return { ...verdict(exit, what, codes), usage: exit.usage };
}

function verdict(exit: Exit, what: string, { skipOn, failOn }: ExitCodes): Outcome {
  // Control groups of version 1 kill one process of several, and what the others then make of it is not to be trusted.
  if (exit.outOfMemory !== undefined && exit.outOfMemory > 0) return failure(exit, what);
  if (exit.code === 0) return withLeft(exit.outputs ?? []);
  if (exit.code !== null && skipOn.includes(exit.code)) return { kind: "skipped", reason: "EXIT", exitCode: exit.code };
  const failed = failure(exit, what);
  return exit.code !== null && failOn.includes(exit.code) ? { ...failed, isFinal: true } : failed;
}

/** What a task finds in its environment, wherever it runs. */
export function environment({ attempt }: ExecutorContext): Record<string, string> {
  return {
    SLUICE_DAG_ID: attempt.dagId,
    SLUICE_RUN_ID: attempt.runId,
    SLUICE_TASK_ID: attempt.taskId,
    SLUICE_ATTEMPT: String(attempt.number),
    SLUICE_ATTEMPT_ID: attempt.attemptId,
    SLUICE_LOGICAL_DATE: attempt.logicalDate,
    SLUICE_INTERVAL_START: attempt.intervalStart,
    SLUICE_INTERVAL_END: attempt.intervalEnd,
  };
}

type Failed = Extract<Outcome, { kind: "failed" }>;

function failure({ code, signal, error, reason: known, outOfMemory }: Exit, what: string): Failed {
  if (error !== undefined) {
    const reason = known ?? (error.includes("ENOSPC") ? "DISK_FULL" : "SPAWN_ERROR");
    return { kind: "failed", reason, error: folderTrouble(error) ?? error };
  }
  if (outOfMemory !== undefined) {
    // The code is kept when it was not the process itself that was killed but something that it ran.
    const error = outOfMemory > 0 ? `killed at ${outOfMemory} MiB` : "killed: the machine had no memory left";
    return { kind: "failed", reason: "OOM", error, exitCode: code ?? undefined };
  }
  if (code === null) return { kind: "failed", reason: "SIGNAL", error: `the ${what} was killed by ${signal}` };
  return { kind: "failed", reason: "EXIT", exitCode: code, error: `the ${what} ended with exit code ${code}` };
}

const FOLDER_TROUBLES: Record<string, string> = {
  ENOENT: "there is no such folder on this worker",
  ENOTDIR: "this is not a folder",
  EACCES: "the user that tasks run as may not enter it",
};

/** In words, when it was the folder that kept the program from starting. */
function folderTrouble(error: string): string | undefined {
  const [, folder, code = ""] = /^chdir (.*) (E[A-Z]+)$/s.exec(error) ?? [];
  return folder === undefined ? undefined : `cwd ${folder}: ${FOLDER_TROUBLES[code] ?? code}`;
}

function withLeft([output, pushed]: readonly HandedBack[]): Outcome {
  const json = textOf(output, "$SLUICE_OUTPUT", MAX_OUTPUT_BYTES);
  const lines = textOf(pushed, "$SLUICE_XCOM_PUSH", MAX_PUSHED_BYTES);
  if ("failed" in json) return json.failed;
  if ("failed" in lines) return lines.failed;
  const values: Record<string, unknown> = {};
  for (const [index, line] of lines.text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const parsed = parse(line, `line ${index + 1} of $SLUICE_XCOM_PUSH`);
    if ("failed" in parsed) return parsed.failed;
    if (typeof parsed.value !== "object" || parsed.value === null || Array.isArray(parsed.value))
      return unstorable(`line ${index + 1} of $SLUICE_XCOM_PUSH is not a mapping like {"key": value}`);
    Object.assign(values, parsed.value);
  }
  const left = Object.keys(values).length === 0 ? {} : { pushed: values };
  if (json.text === "") return { kind: "success", output: undefined, ...left, exitCode: 0 };
  const parsed = parse(json.text, "$SLUICE_OUTPUT");
  if ("failed" in parsed) return parsed.failed;
  return { kind: "success", output: parsed.value, ...left, exitCode: 0 };
}

/** What is not there is as if it were empty. */
function textOf(file: HandedBack, name: string, maxBytes: number): { text: string } | { failed: Outcome } {
  if (file === undefined) return { text: "" };
  if ("trouble" in file) return { failed: unstorable(`${name} cannot be read: ${file.trouble}`) };
  if (file.size <= maxBytes) return { text: file.text };
  const error = `${name} has ${file.size} bytes; at most ${maxBytes} are kept`;
  return { failed: { kind: "failed", reason: "RESULT_TOO_LARGE", error } };
}

function parse(text: string, name: string): { value: unknown } | { failed: Outcome } {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { failed: unstorable(`${name} is not JSON: ${messageOf(error)}`) };
  }
}

const unstorable = (error: string): Outcome => ({ kind: "failed", reason: "RESULT_UNSTORABLE", error });
