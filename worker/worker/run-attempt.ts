import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { nextLook } from "#lib/domain/deferral.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { TaskSpec } from "#lib/domain/model/task.ts";
import { resourceAmount } from "#lib/domain/model/resources.ts";
import { durationMs } from "#lib/domain/model/duration.ts";
import { nextRetry } from "#lib/domain/retry.ts";
import { isoTimes } from "#lib/domain/run-times.ts";
import { storableText } from "#lib/domain/storable.ts";
import { storableXcoms } from "#lib/domain/xcom.ts";
import { NO_MASK } from "#lib/domain/secrets/mask.ts";
import type { Claimed } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { Containers } from "#lib/executors/docker/containers.ts";
import type { Executor, ExecutorContext, Outcome } from "#lib/executors/executor.ts";
import type { AddressGuard } from "#lib/executors/http-address.ts";
import { type Executors, typesOf } from "#lib/executors/registry.ts";
import { type Resolved, resolveTask } from "../resolve-task.ts";
import { runWithin } from "../run-within.ts";
import { isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import type { BundleStore } from "../functions/bundle-store.ts";
import type { FunctionPool } from "../functions/pool.ts";
import { maskedOutcome, maskedOutput } from "../secrets/masked-output.ts";
import type { SecretProvider } from "../secrets/provider.ts";
import type { Spawner } from "../spawner/client.ts";
import type { Writer, Writers } from "./disk-writers.ts";
import type { DiskCheck } from "./free-disk.ts";
import { type Inputs, InputsTooLarge } from "./inputs.ts";
import type { AttemptLog } from "./log-writer.ts";
import { createTaskSpecs } from "./task-specs.ts";

const ASK_AGAIN_MS = 500;
/** A message is for people; the log has the rest. */
const MAX_ERROR_LENGTH = 16_384;

/** The task wrote most when the disk was nearly full; `DISK_FULL` says that it could not write. */
const DISK_FILLED = "DISK_FILLED";

const specs = createTaskSpecs();

export type AttemptTools = {
  deps: EngineDeps;
  executors: Executors;
  inputs: Inputs;
  spawner: Spawner;
  functions: FunctionPool;
  bundles: Pick<BundleStore, "textOf">;
  containers: Containers;
  /** Where attempts have their folders. */
  workFolder: string;
  /** A file that says `{}`, where tasks cannot change it. */
  nothing?: string | undefined;
  /** Why no process should start now, when there is no room for its files. */
  diskTrouble: DiskCheck;
  /** Ends the task that has written most when the disk is nearly full. */
  writers?: Writers;
  network: AddressGuard;
  secrets: SecretProvider;
};

/**
 * Runs a claimed attempt to its end, outside any transaction. Never throws: whatever happens is an end. Undefined when it was not
 * begun, because the worker's disk is full: that is not its fault, and it goes to other workers.
 */
export async function runAttempt(
  tools: AttemptTools,
  claimed: Claimed,
  signal: AbortSignal,
  log: AttemptLog,
): Promise<Finish | undefined> {
  let mask = NO_MASK;
  const beganAt = performance.now();
  try {
    const written = specs.read(claimed.task);
    const executor = tools.executors.get(written.type);
    if (executor === undefined) return toFinish(claimed, written, unknownType(written, tools.executors));
    const resolved = await resolve(tools, claimed, written, executor, signal);
    if (resolved.kind !== "run") return unresolvedEnd(claimed, written, resolved);
    const { task, config } = resolved;
    mask = resolved.mask;
    const isProcess = executor.slotClass === "process";
    if (isProcess && (await tools.diskTrouble()) !== undefined) return undefined;
    const workDir = workDirOf(tools, claimed);
    const output = maskedOutput(mask, log.write);
    const run = (either: AbortSignal): Promise<Outcome> =>
      executor.run(contextOf(tools, claimed, task, workDir, either, output.write), config);
    const writer = isProcess ? tools.writers?.enter(workDir) : undefined;
    const outcome = await execute(() => runAsWriter(writer, signal, (stop) => runWithin(task, stop, run)), output.end);
    if (isProcess && (await isUnbegun(tools, outcome))) return undefined;
    const kept = maskedOutcome(mask, outcome);
    if (kept.kind !== "deferred") return toFinish(claimed, task, kept);
    return lookEnd(claimed, task, kept, { lookMs: performance.now() - beganAt, logBytes: log.written() });
  } catch (error) {
    const reason = error instanceof InputsTooLarge ? "INPUTS_TOO_LARGE" : "EXECUTOR_ERROR";
    return toFinish(claimed, undefined, { kind: "failed", reason, error: mask.text(messageOf(error)) });
  }
}

/** Runs it until it is ended because it fills the disk, which is then how it ended. */
async function runAsWriter(
  writer: Writer | undefined,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome> {
  if (writer === undefined) return run(signal);
  try {
    const outcome = await run(AbortSignal.any([signal, writer.signal]));
    if (!writer.signal.aborted) return outcome;
    return { kind: "failed", reason: DISK_FILLED, error: messageOf(writer.signal.reason), usage: outcome.usage };
  } finally {
    writer.leave();
  }
}

/** It could not get its folder, because the worker's own disk is full. */
async function isUnbegun(tools: AttemptTools, outcome: Outcome): Promise<boolean> {
  if (outcome.kind !== "failed" || outcome.reason !== "DISK_FULL" || outcome.exitCode !== undefined) return false;
  return (await tools.diskTrouble(true)) !== undefined;
}

/** Admission gives it to none that says so; a worker with the plugin may take the next attempt. */
function unknownType({ type }: TaskSpec, executors: Executors): Failed {
  const known = typesOf(executors).join(", ");
  const error = `this worker does not know the type of task "${type}", but only ${known}; SLUICE_PLUGINS names plugins`;
  return { kind: "failed", reason: "UNKNOWN_TYPE", error };
}

/** Expressions get their values at the last moment, and the parents' outputs are read only when there are any. */
function resolve(
  { inputs, secrets }: AttemptTools,
  claimed: Claimed,
  task: TaskSpec,
  executor: Executor,
  signal: AbortSignal,
): Promise<Resolved> {
  const { runId: id, dagId, triggerKind, params } = claimed;
  const values = async () => ({
    params,
    ...(await untilReachable(signal, () => inputs.of(claimed))),
    run: { id, dagId, triggerKind, ...isoTimes(claimed) },
    task: { id: task.id, attempt: claimed.number, attemptId: claimed.attemptId },
  });
  return resolveTask(task, executor, values, secrets);
}

/** An expression that fails would fail again, and a secret that is missing is for people to add: neither is retried. */
function unresolvedEnd(claimed: Claimed, task: TaskSpec, resolved: Exclude<Resolved, { kind: "run" }>): Finish {
  if (resolved.kind === "skip") return toFinish(claimed, undefined, { kind: "skipped", reason: "CONDITION" });
  return toFinish(claimed, resolved.reason === "SECRETS_UNREADABLE" ? task : undefined, resolved);
}

async function execute(run: () => Promise<Outcome>, endOutput: () => Promise<void>): Promise<Outcome> {
  try {
    return await run();
  } finally {
    await endOutput();
  }
}

/** A look that was lost may still be ending here, in a folder of the same attempt. */
function workDirOf({ deps, workFolder }: AttemptTools, { attemptId, look }: Claimed): string {
  return path.join(workFolder, look === null ? attemptId : `${attemptId}.${deps.newToken().slice(0, 8)}`);
}

function contextOf(
  { inputs, spawner, functions, bundles, containers, network, nothing }: AttemptTools,
  claimed: Claimed,
  task: TaskSpec,
  workDir: string,
  signal: AbortSignal,
  write: AttemptLog["write"],
): ExecutorContext {
  const { attemptId, number, taskInstanceId, taskId, runId, dagId, conf, params } = claimed;
  const bundle = claimed.bundle ?? undefined;
  return {
    attempt: {
      attemptId,
      number,
      taskInstanceId,
      taskId,
      runId,
      dagId,
      conf,
      params,
      ...isoTimes(claimed),
      bundle,
    },
    inputs: () => untilReachable(signal, () => inputs.of(claimed)),
    env: task.env,
    signal,
    timeoutMs: durationMs(task.timeout),
    workDir,
    nothing,
    network,
    sourceOf: (name) => bundles.textOf(bundle, name),
    log: (stream, text) => void write(stream, Buffer.from(text)),
    spawn: (request) => spawner.run(request, signal, write, resourceAmount(task.resources)),
    contain: (request) => containers.run(request, signal, write, resourceAmount(task.resources)),
    call: (call) => functions.call(call, signal, write),
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

type Failed = Extract<Outcome, { kind: "failed" }>;

/** A failed end, and when the task is tried again. A task that cannot even be read is not. */
function failedEnd({ taskInstanceId, token, failures }: Claimed, task: TaskSpec | undefined, failure: Failed): Finish {
  const { reason, exitCode } = failure;
  const error = storableText(failure.error.slice(0, MAX_ERROR_LENGTH));
  const retry = task && nextRetry(task.retries, failure, failures + 1, Math.random());
  const retryInMs = retry?.retry ? retry.delayMs : undefined;
  return { taskInstanceId, token, state: "failed", reason, exitCode, error, retryInMs };
}

type Deferred = Extract<Outcome, { kind: "deferred" }>;
type Over = Exclude<Outcome, Deferred>;

/** The end of a look, unless it was the last one that the task's timeout leaves. */
function lookEnd(
  claimed: Claimed,
  task: TaskSpec,
  deferred: Deferred,
  { lookMs, logBytes }: { lookMs: number; logBytes: number },
): Finish {
  const { taskInstanceId, token, look } = claimed;
  const { usage } = deferred;
  const verdict = nextLook(task.timeout, (look?.waitedMs ?? 0) + lookMs, deferred);
  if (!verdict.again)
    return toFinish(claimed, task, { kind: "failed", reason: "TIMEOUT", error: verdict.error, usage });
  const { afterMs: lookInMs, reason } = verdict;
  return { taskInstanceId, token, state: "deferred", reason, lookInMs, logBytes, usage };
}

function toFinish(claimed: Claimed, task: TaskSpec | undefined, outcome: Over): Finish {
  return { ...endOfOutcome(claimed, task, outcome), usage: outcome.usage };
}

function endOfOutcome(claimed: Claimed, task: TaskSpec | undefined, outcome: Over): Finish {
  const attempt = { taskInstanceId: claimed.taskInstanceId, token: claimed.token };
  if (outcome.kind === "failed") return failedEnd(claimed, task, outcome);
  if (outcome.kind === "skipped")
    return { ...attempt, state: "skipped", reason: outcome.reason, exitCode: outcome.exitCode };
  const left = storableXcoms(outcome.output, outcome.pushed ?? {});
  if (!left.ok) return failedEnd(claimed, task, { kind: "failed", reason: left.reason, error: left.error });
  const { output, pushed } = left;
  const xcomTtlMs = task?.xcomTtl === undefined ? undefined : durationMs(task.xcomTtl);
  return { ...attempt, state: "success", reason: "EXIT", exitCode: outcome.exitCode, output, pushed, xcomTtlMs };
}
