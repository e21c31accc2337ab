import { readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
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
  };
  await writeFile(files.SLUICE_INPUTS, JSON.stringify(await context.inputs()));
  await writeFile(files.SLUICE_CONF, JSON.stringify(context.attempt.conf));
  await writeFile(files.SLUICE_PARAMS, JSON.stringify(context.attempt.params));
  const exit = await context.spawn({
    file: program.file,
    args: program.args,
    cwd: context.workDir,
    env: { ...environment(context), ...context.env, ...files },
  });
  if (exit.code === 0) return readOutput(files.SLUICE_OUTPUT);
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

async function readOutput(file: string): Promise<Outcome> {
  const size = await stat(file).then(
    (found) => found.size,
    () => undefined,
  );
  if (size === undefined || size === 0) return { kind: "success", output: undefined, exitCode: 0 };
  if (size > MAX_OUTPUT_BYTES) {
    const error = `$SLUICE_OUTPUT has ${size} bytes; at most ${MAX_OUTPUT_BYTES} are kept`;
    return { kind: "failed", reason: "RESULT_TOO_LARGE", error };
  }
  try {
    return { kind: "success", output: JSON.parse(await readFile(file, "utf8")) as unknown, exitCode: 0 };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { kind: "failed", reason: "RESULT_UNSTORABLE", error: `$SLUICE_OUTPUT is not JSON: ${detail}` };
  }
}
