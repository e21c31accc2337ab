import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import { TaskSpec } from "#lib/domain/dag.ts";
import { storableJson } from "#lib/domain/output.ts";
import type { Claimed } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { parentOutputs } from "#lib/db/xcoms.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { ExecutorContext, Outcome } from "#lib/executors/executor.ts";
import { EXECUTORS } from "#lib/executors/registry.ts";
import { isDatabaseUnreachable } from "../database-errors.ts";
import type { FunctionPool } from "../functions/pool.ts";
import type { Spawner } from "../spawner/client.ts";
import type { AttemptLog } from "./log-writer.ts";

const ASK_AGAIN_MS = 500;

export type AttemptTools = { deps: EngineDeps; spawner: Spawner; functions: FunctionPool; workFolder: string };

/** Runs a claimed attempt to its end, outside any transaction. Never throws: whatever happens is an end. */
export async function runAttempt(
  tools: AttemptTools,
  claimed: Claimed,
  signal: AbortSignal,
  log: AttemptLog,
): Promise<Finish> {
  const workDir = path.join(tools.workFolder, claimed.attemptId);
  try {
    await mkdir(workDir, { recursive: true, mode: 0o700 });
    return toFinish(claimed, await execute(contextOf(tools, claimed, signal, log, workDir), claimed));
  } catch (error) {
    return toFinish(claimed, { kind: "failed", reason: "EXECUTOR_ERROR", error: messageOf(error) });
  } finally {
    await rm(workDir, { recursive: true, force: true }).catch((error: unknown) => {
      tools.deps.log.warn({ workDir, error: messageOf(error) }, "a work directory could not be removed");
    });
  }
}

function execute(context: ExecutorContext, claimed: Claimed): Promise<Outcome> {
  const task = TaskSpec.parse({ id: claimed.taskId, type: claimed.type, config: claimed.config });
  switch (task.type) {
    case "bash":
      return EXECUTORS.bash.run(context, task.config);
    case "fn":
      return EXECUTORS.fn.run(context, task.config);
  }
}

function contextOf(
  { deps, spawner, functions }: AttemptTools,
  claimed: Claimed,
  signal: AbortSignal,
  log: AttemptLog,
  workDir: string,
): ExecutorContext {
  const { attemptId, number, taskInstanceId, taskId, runId, dagId, conf } = claimed;
  return {
    attempt: {
      attemptId,
      number,
      taskInstanceId,
      taskId,
      runId,
      dagId,
      conf,
      logicalDate: claimed.logicalDate.toISOString(),
      bundle: claimed.bundle ?? undefined,
    },
    inputs: () => untilReachable(signal, () => parentOutputs(deps.pool, taskInstanceId)),
    signal,
    workDir,
    spawn: (request) => spawner.run(request, signal, log.write),
    call: (call) => functions.call(call, signal, (stream, bytes) => void log.write(stream, bytes)),
  };
}

/** A database that is away while a task starts is not the task's failure: it is asked again until the attempt ends. */
export async function untilReachable<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isDatabaseUnreachable(error)) throw error;
      await delay(ASK_AGAIN_MS, undefined, { signal });
    }
  }
}

function toFinish({ taskInstanceId, token }: Claimed, outcome: Outcome): Finish {
  const attempt = { taskInstanceId, token };
  if (outcome.kind === "failed") {
    const { reason, error, exitCode } = outcome;
    return { ...attempt, state: "failed", reason, exitCode, error: error.replaceAll("\0", "\uFFFD").toWellFormed() };
  }
  const output = storableJson(outcome.output);
  if (!output.ok)
    return { ...attempt, state: "failed", reason: output.reason, error: `the output cannot be kept: ${output.error}` };
  return { ...attempt, state: "success", reason: "EXIT", exitCode: outcome.exitCode, output: output.json };
}
