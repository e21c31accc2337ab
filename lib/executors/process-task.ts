import { lstat, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { messageOf } from "#lib/domain/errors.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import { keyTrouble } from "#lib/domain/xcom.ts";
import type { ExecutorContext, Exit, Outcome } from "./executor.ts";

/** All a task's process is given: nothing of the worker's own environment but these. */
const INHERITED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Runs one program as the task: inputs and conf in files, output from a file, an exit code as the verdict.
 * `skipOn` are the exit codes that mean "nothing to do".
 */
export async function runProcessTask(
  context: ExecutorContext,
  program: { file: string; args: readonly string[]; what: string },
  skipOn: readonly number[],
): Promise<Outcome> {
  const files = {
    SLUICE_INPUTS: path.join(context.workDir, "inputs.json"),
    SLUICE_CONF: path.join(context.workDir, "conf.json"),
    SLUICE_PARAMS: path.join(context.workDir, "params.json"),
    SLUICE_OUTPUT: path.join(context.workDir, "output.json"),
    SLUICE_XCOMS: path.join(context.workDir, "xcoms.json"),
    SLUICE_XCOM_PUSH: path.join(context.workDir, "push"),
  };
  const { outputs, xcoms } = await context.inputs();
  await writeFile(files.SLUICE_INPUTS, JSON.stringify(outputs));
  await writeFile(files.SLUICE_XCOMS, JSON.stringify(xcoms));
  await mkdir(files.SLUICE_XCOM_PUSH);
  await writeFile(files.SLUICE_CONF, JSON.stringify(context.attempt.conf));
  await writeFile(files.SLUICE_PARAMS, JSON.stringify(context.attempt.params));
  const exit = await context.spawn({
    file: program.file,
    args: program.args,
    cwd: context.workDir,
    env: { ...environment(context), ...context.env, ...files },
  });
  if (exit.code === 0) return readLeft(files);
  if (exit.code !== null && skipOn.includes(exit.code)) return { kind: "skipped", reason: "EXIT", exitCode: exit.code };
  return failure(exit, program.what);
}

function environment({ attempt, workDir }: ExecutorContext): Record<string, string> {
  return {
    PATH: INHERITED_PATH,
    LANG: "C.UTF-8",
    HOME: workDir,
    SLUICE_DAG_ID: attempt.dagId,
    SLUICE_RUN_ID: attempt.runId,
    SLUICE_TASK_ID: attempt.taskId,
    SLUICE_ATTEMPT: String(attempt.number),
    SLUICE_ATTEMPT_ID: attempt.attemptId,
    SLUICE_LOGICAL_DATE: attempt.logicalDate,
  };
}

function failure({ code, signal, error }: Exit, what: string): Outcome {
  if (error !== undefined) return { kind: "failed", reason: "SPAWN_ERROR", error };
  if (code === null) return { kind: "failed", reason: "SIGNAL", error: `the ${what} was killed by ${signal}` };
  return { kind: "failed", reason: "EXIT", exitCode: code, error: `the ${what} ended with exit code ${code}` };
}

/** What the task has left, each as JSON in a file of its own. */
async function readLeft(files: { SLUICE_OUTPUT: string; SLUICE_XCOM_PUSH: string }): Promise<Outcome> {
  const output = await readJson(files.SLUICE_OUTPUT, "$SLUICE_OUTPUT");
  if (!output.ok) return output.outcome;
  const pushed: [string, unknown][] = [];
  const keys = await readdir(files.SLUICE_XCOM_PUSH).catch(() => []);
  for (const key of keys) {
    const trouble = keyTrouble(key);
    if (trouble !== undefined)
      return { kind: "failed", reason: "RESULT_UNSTORABLE", error: `$SLUICE_XCOM_PUSH: ${trouble}` };
    const value = await readJson(path.join(files.SLUICE_XCOM_PUSH, key), `$SLUICE_XCOM_PUSH/${key}`);
    if (!value.ok) return value.outcome;
    pushed.push([key, value.value]);
  }
  const left = pushed.length === 0 ? {} : { pushed: Object.fromEntries(pushed) };
  return { kind: "success", output: output.value, ...left, exitCode: 0 };
}

type ReadJson = { ok: true; value: unknown } | { ok: false; outcome: Outcome };

/** A file that is not there or empty is none. A link is not followed: it may lead to what the task may not read. */
async function readJson(file: string, name: string): Promise<ReadJson> {
  const failed = (reason: string, error: string): ReadJson => ({
    ok: false,
    outcome: { kind: "failed", reason, error },
  });
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined || found.size === 0) return { ok: true, value: undefined };
  if (!found.isFile()) return failed("RESULT_UNSTORABLE", `${name} is not a plain file`);
  if (found.size > MAX_OUTPUT_BYTES) {
    return failed("RESULT_TOO_LARGE", `${name} has ${found.size} bytes; at most ${MAX_OUTPUT_BYTES} are kept`);
  }
  try {
    return { ok: true, value: JSON.parse(await readFile(file, "utf8")) as unknown };
  } catch (error) {
    return failed("RESULT_UNSTORABLE", `${name} is not JSON: ${messageOf(error)}`);
  }
}
