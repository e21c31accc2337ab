import { readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { z } from "zod";
import type { BashConfig } from "#lib/domain/dag.ts";
import { MAX_OUTPUT_BYTES } from "#lib/domain/output.ts";
import type { Executor, ExecutorContext, Exit, Outcome } from "./executor.ts";

/** All a task's process is given: nothing of the worker's own environment but these. */
const INHERITED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A shell command as a process of its own. */
export const bash: Executor<z.infer<typeof BashConfig>> = {
  displayName: "Bash",
  async run(context, config) {
    const files = {
      SLUICE_INPUTS: path.join(context.workDir, "inputs.json"),
      SLUICE_CONF: path.join(context.workDir, "conf.json"),
      SLUICE_OUTPUT: path.join(context.workDir, "output.json"),
    };
    await writeFile(files.SLUICE_INPUTS, JSON.stringify(await context.inputs()));
    await writeFile(files.SLUICE_CONF, JSON.stringify(context.attempt.conf));
    const exit = await context.spawn({
      file: "bash",
      args: ["-euo", "pipefail", "-c", config.command],
      cwd: context.workDir,
      env: { ...environment(context), ...config.env, ...files },
    });
    return exit.code === 0 ? readOutput(files.SLUICE_OUTPUT) : failure(exit);
  },
};

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

function failure({ code, signal, error }: Exit): Outcome {
  if (error !== undefined) return { kind: "failed", reason: "SPAWN_ERROR", error };
  if (code === null) return { kind: "failed", reason: "SIGNAL", error: `the command was killed by ${signal}` };
  return { kind: "failed", reason: "EXIT", exitCode: code, error: `the command ended with exit code ${code}` };
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
