import path from "node:path";
import type { Json } from "#lib/domain/canonical.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { ExpressionValues } from "#lib/domain/expressions/evaluate.ts";
import { durationMs } from "#lib/domain/model/duration.ts";
import { resourceAmount } from "#lib/domain/model/resources.ts";
import type { TaskSpec } from "#lib/domain/model/task.ts";
import { isoTimes, type RunTimes } from "#lib/domain/run-times.ts";
import { type ParentXcoms, storableXcoms } from "#lib/domain/xcom.ts";
import type { Executor, ExecutorContext, Outcome, Stream } from "#lib/executors/executor.ts";
import { resolveTask } from "../resolve-task.ts";
import { runWithin } from "../run-within.ts";
import { maskedOutcome, maskedOutput } from "../secrets/masked-output.ts";
import type { DevTools } from "./tools.ts";

const RUN_ID = "local";

export type AttemptInput = {
  number: number;
  dagId: string;
  bundle: string | undefined;
  /** What the run was triggered with, and the same with the params' defaults. */
  conf: Record<string, unknown>;
  params: Record<string, Json>;
  times: RunTimes;
  /** What the task's parents have left. */
  inputs: ParentXcoms;
  signal: AbortSignal;
  write(stream: Stream, bytes: Buffer): void;
};

/**
 * One attempt by the task's real executor, within its timeout, with its expressions evaluated. Never throws: whatever
 * happens is an outcome.
 */
export async function runAttempt(tools: DevTools, written: TaskSpec, input: AttemptInput): Promise<Outcome> {
  const executor = tools.executors.get(written.type);
  if (executor === undefined) {
    const error = `there is no type of task "${written.type}" here; SLUICE_PLUGINS names plugins`;
    return { kind: "failed", reason: "UNKNOWN_TYPE", error };
  }
  const resolved = await resolveTask(written, executor, async () => valuesOf(written, input), tools.secrets);
  if (resolved.kind === "skip") return { kind: "skipped", reason: "CONDITION" };
  if (resolved.kind === "failed") return resolved;
  const { task, config, mask } = resolved;
  const output = maskedOutput(mask, (stream, bytes) => Promise.resolve(input.write(stream, bytes)));
  const write = (stream: Stream, bytes: Buffer): void => void output.write(stream, bytes);
  const outcome = await execute(tools, { task, run: (context) => executor.run(context, config) }, { ...input, write });
  await output.end();
  return stored(maskedOutcome(mask, outcome));
}

const attemptIdOf = ({ id }: TaskSpec, number: number): string => `local-${id}-${number}`;

function valuesOf(task: TaskSpec, { number, dagId, params, times, inputs }: AttemptInput): ExpressionValues {
  return {
    params,
    ...inputs,
    run: { id: RUN_ID, dagId, ...isoTimes(times), triggerKind: "manual" },
    task: { id: task.id, attempt: number, attemptId: attemptIdOf(task, number) },
  };
}

type Runnable = { task: TaskSpec; run: (context: ExecutorContext) => ReturnType<Executor["run"]> };

async function execute(tools: DevTools, { task, run }: Runnable, input: AttemptInput): Promise<Outcome> {
  const workDir = path.join(tools.workFolder, `${task.id}-${input.number}`);
  try {
    return await runWithin(task, input.signal, (either) => run(contextOf(tools, task, input, either, workDir)));
  } catch (error) {
    return { kind: "failed", reason: "EXECUTOR_ERROR", error: messageOf(error) };
  }
}

function contextOf(
  tools: DevTools,
  task: TaskSpec,
  input: AttemptInput,
  signal: AbortSignal,
  workDir: string,
): ExecutorContext {
  const { number, dagId, bundle, conf, params, times, inputs, write } = input;
  return {
    attempt: {
      attemptId: attemptIdOf(task, number),
      number,
      taskInstanceId: `local-${task.id}`,
      taskId: task.id,
      runId: RUN_ID,
      dagId,
      conf,
      params,
      ...isoTimes(times),
      bundle,
    },
    env: task.env,
    inputs: () => Promise.resolve(inputs),
    signal,
    timeoutMs: durationMs(task.timeout),
    workDir,
    network: tools.network,
    sourceOf: (name) => tools.bundles.textOf(bundle, name),
    log: (stream, text) => write(stream, Buffer.from(text)),
    spawn: (request) => tools.spawner.run(request, signal, (stream, bytes) => Promise.resolve(write(stream, bytes))),
    // Runs of other processes have tasks of the same name.
    contain: (request) =>
      tools.containers.run(
        { ...request, name: `${request.name}-${process.pid}` },
        signal,
        (stream, bytes) => Promise.resolve(write(stream, bytes)),
        resourceAmount(task.resources),
      ),
    call: (call) =>
      tools.functions.call(call, signal, (stream, bytes) =>
        write(stream, Buffer.from(tools.withoutFolder(bytes.toString()))),
      ),
  };
}

/** The outcome with its output as the database would give it back. */
function stored(outcome: Outcome): Outcome {
  if (outcome.kind !== "success") return outcome;
  const kept = storableXcoms(outcome.output, outcome.pushed ?? {});
  if (!kept.ok) return { kind: "failed", reason: kept.reason, error: kept.error };
  const pushed = Object.entries(kept.pushed).map(([key, json]) => [key, JSON.parse(json) as Json] as const);
  const output = kept.output === undefined ? undefined : (JSON.parse(kept.output) as unknown);
  return { ...outcome, output, pushed: Object.fromEntries(pushed) };
}
