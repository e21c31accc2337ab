import type { z } from "zod";
import { callsOn, DagCallbacks, TaskCallbacks } from "#lib/domain/model/callbacks.ts";
import { TaskSpec } from "#lib/domain/model/task.ts";
import type { CallbackRequest, ConfigOf } from "#lib/domain/model/task-types.ts";
import { isoTimes } from "#lib/domain/run-times.ts";
import type { Mask } from "#lib/domain/secrets/mask.ts";
import { type Call, type CallbackFacts, insertFailedCallback, readCallback } from "#lib/db/callbacks.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import type { AddressGuard } from "#lib/executors/http-address.ts";
import { callHttp } from "#lib/executors/http.ts";
import { EXECUTORS } from "#lib/executors/registry.ts";
import type { CallbackJob } from "#lib/queue/callback-queue.ts";
import { resolveTask } from "../resolve-task.ts";
import type { SecretProvider } from "../secrets/provider.ts";

/** Requests under way at once. */
const WIDTH = 8;
const MAX_REQUEST_MS = 60_000;

/** What calls may use. */
export type CallTools = { network: AddressGuard; secrets: SecretProvider };

/**
 * Makes the calls that wait, until none does. A call that fails comes again, as often as its queue says; after the
 * last time the run's history says so. Delivered at least once: the idempotency key is the same every time.
 */
export async function makeCalls(deps: EngineDeps, tools: CallTools, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const jobs = await deps.queue.callbacks.take(WIDTH);
    await Promise.all(jobs.map((job) => makeCall(deps, job, tools, signal)));
    if (jobs.length < WIDTH) return;
  }
}

async function makeCall(
  deps: EngineDeps,
  { id, call, isLast }: CallbackJob,
  { network, secrets }: CallTools,
  signal: AbortSignal,
): Promise<void> {
  const facts = await readCallback(deps.pool, call);
  // Its run is gone, and nobody is left to tell about it.
  if (facts === undefined) return deps.queue.callbacks.finished(id);
  const request = await requestOf(call, facts, secrets);
  const error = request.ok ? await send(request, call, network, signal) : request.error;
  if (error === undefined) return deps.queue.callbacks.finished(id);
  deps.log.warn({ run: call.runId, task: facts.taskId, event: call.event, error }, "a callback failed");
  // What cannot be written will not be later either.
  const isRepeated = request.ok || request.mayPass;
  if (isLast || !isRepeated) await insertFailedCallback(deps.pool, call, error);
  if (isRepeated) return deps.queue.callbacks.failed(id, error);
  return deps.queue.callbacks.finished(id);
}

/** The same each time the call is made. */
function keyOf({ runId, taskInstanceId, attempt, event, index }: Call): string {
  return [runId, taskInstanceId ?? "run", attempt ?? 0, event, index].join("-");
}

async function send(
  { config, mask }: Extract<Request, { ok: true }>,
  call: Call,
  network: AddressGuard,
  signal: AbortSignal,
): Promise<string | undefined> {
  const outcome = await callHttp(config, {
    network,
    signal: AbortSignal.any([signal, AbortSignal.timeout(MAX_REQUEST_MS)]),
    idempotencyKey: keyOf(call),
    log: () => undefined,
  });
  return outcome.kind === "failed" ? mask.text(outcome.error) : undefined;
}

type Request =
  | { ok: true; config: ConfigOf<"http">; mask: Mask }
  /** `mayPass`: it may be written at another time. */
  | { ok: false; error: string; mayPass: boolean };

/** The request with its expressions resolved, and with what happened as its body when it has none. */
async function requestOf(call: Call, facts: CallbackFacts, secrets: SecretProvider): Promise<Request> {
  const { runId, event, index, attempt } = call;
  const callbacks =
    call.taskInstanceId === null ? DagCallbacks.parse(facts.callbacks) : TaskCallbacks.parse(facts.callbacks);
  const http = callsOn(callbacks, event)[index]?.http;
  if (http === undefined) return { ok: false, error: "its version has no such callback", mayPass: false };
  const { dagId, triggerKind, params } = facts;
  // Resolved the way a task of the same config is.
  const task = TaskSpec.parse({ id: facts.taskId ?? "run", type: "http", config: withBody(http, call, facts) });
  const values = {
    params,
    outputs: {},
    xcoms: {},
    run: { id: runId, dagId, triggerKind, ...isoTimes(facts) },
    task: { id: facts.taskId ?? "", attempt: attempt ?? 0, attemptId: keyOf(call) },
  };
  const resolved = await resolveTask(task, EXECUTORS.http, async () => values, secrets);
  if (resolved.kind === "run") return { ok: true, config: resolved.config as ConfigOf<"http">, mask: resolved.mask };
  if (resolved.kind === "skip") return { ok: false, error: "skipped", mayPass: false };
  return { ok: false, error: resolved.error, mayPass: resolved.reason === "SECRETS_UNREADABLE" };
}

const BODYLESS = ["GET", "HEAD", "OPTIONS"];

function withBody(http: z.output<typeof CallbackRequest>, call: Call, facts: CallbackFacts): object {
  const hasBody = http.json !== undefined || http.form !== undefined || http.body !== undefined;
  if (hasBody || BODYLESS.includes(http.method)) return http;
  const { dagId, taskId, reason, triggerKind } = facts;
  const json = {
    event: call.event,
    dagId,
    runId: call.runId,
    ...isoTimes(facts),
    triggerKind,
    ...(taskId === null ? {} : { taskId, taskInstanceId: call.taskInstanceId, attempt: call.attempt, reason }),
    // A task's own words, not an expression of the DAG's author.
    ...(facts.error === null ? {} : { error: facts.error.replaceAll("${{", "$ {{") }),
  };
  return { ...http, json };
}
