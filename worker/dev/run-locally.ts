import type { ParentXcoms } from "#lib/domain/xcom.ts";
import { setTimeout as delay } from "node:timers/promises";
import type { Json } from "#lib/domain/canonical.ts";
import { MIN_LOOK_MS, nextLook } from "#lib/domain/deferral.ts";
import { buildGraph, type Graph, topologicalOrder } from "#lib/domain/graph.ts";
import type { TaskSpec } from "#lib/domain/model/task.ts";
import { nearestName } from "#lib/domain/nearest.ts";
import { type ParamValues, paramValues } from "#lib/domain/param-values.ts";
import { nextRetry } from "#lib/domain/retry.ts";
import { runVerdict, settle } from "#lib/domain/settle.ts";
import type { TaskState } from "#lib/domain/states.ts";
import type { Outcome } from "#lib/executors/executor.ts";
import { runAttempt } from "./attempt.ts";
import type { LocalRun, LocalRunOptions, LocalRunResult, TaskEnd } from "./local-run.ts";
import { type DevTools, openTools } from "./tools.ts";

type Walk = {
  options: LocalRunOptions;
  tools: DevTools;
  params: ParamValues;
  graph: Graph;
  /** The outputs so far, and what else was pushed, by task id. */
  outputs: Map<string, Json>;
  pushed: Map<string, Record<string, Json>>;
};

/**
 * Runs a whole DAG, one task after the other, with the executors and rules of production but without a database or
 * a server. Tasks run as children of this process, which outlive neither it nor `signal`.
 */
export async function runLocally(options: LocalRunOptions): Promise<LocalRunResult> {
  const { spec } = options.dag;
  const values = paramValues(spec.params, options.conf);
  const problems = [...unknownTasks(options), ...(values.ok ? [] : values.problems)];
  if (!values.ok || problems.length > 0) return { ok: false, problems };
  const startedAt = performance.now();
  const tools = await openTools(options);
  try {
    const walk = {
      options,
      tools,
      params: values.params,
      graph: buildGraph(spec.tasks),
      outputs: new Map(),
      pushed: new Map(),
    };
    const { state, tasks } = await walkAll(walk);
    const durationMs = Math.round(performance.now() - startedAt);
    return { ok: true, run: { dagId: spec.id, state, durationMs, params: values.params, tasks } };
  } finally {
    await tools.stop();
  }
}

function unknownTasks({ dag, mocks, only }: LocalRunOptions): string[] {
  const known = dag.spec.tasks.map((task) => task.id);
  return [...new Set([...mocks.keys(), ...only])]
    .filter((id) => !known.includes(id))
    .map((id) => {
      const near = nearestName(id, known);
      return `"${id}" is not a task of the DAG "${dag.spec.id}"${near === undefined ? "" : `; did you mean "${near}"?`}`;
    });
}

async function walkAll(walk: Walk): Promise<Pick<LocalRun, "state" | "tasks">> {
  const { options, graph } = walk;
  const { tasks } = options.dag.spec;
  const order = topologicalOrder(graph);
  const rules = { parents: graph.parents, rules: tasks.map((task) => task.triggerRule), order };
  const isSelected = (task: TaskSpec): boolean => options.only.length === 0 || options.only.includes(task.id);
  let states: TaskState[] = tasks.map((task) => (isSelected(task) ? "waiting" : "success"));
  const ends: TaskEnd[] = [];
  for (const ord of order) {
    // Parents come first in the order, so by now the rule has its answer.
    states = settle(rules, states);
    const end = await endOf(walk, tasks[ord]!, states[ord]!, isSelected(tasks[ord]!));
    states[ord] = end.state;
    if (end.output !== undefined) walk.outputs.set(end.id, end.output);
    ends.push(end);
    options.on.ended(end);
  }
  if (options.signal.aborted) return { state: "cancelled", tasks: ends };
  const isLeaf = graph.children.map((children) => !children.some((child) => isSelected(tasks[child]!)));
  return { state: runVerdict(isLeaf, states), tasks: ends };
}

/** Brings one task to its end; `decided` is what its trigger rule made of it. */
async function endOf(walk: Walk, task: TaskSpec, decided: TaskState, isSelected: boolean): Promise<TaskEnd> {
  const { mocks, signal } = walk.options;
  const never = { id: task.id, attempts: 0, durationMs: 0 };
  if (signal.aborted) return { ...never, state: "cancelled", by: "stop" };
  if (decided === "skipped" || decided === "upstream_failed") return { ...never, state: decided, by: "rule" };
  if (mocks.has(task.id)) return { ...never, state: "success", by: "mock", output: mocks.get(task.id) };
  if (!isSelected) return { ...never, state: "success", by: "not selected" };
  walk.options.on.started(task.id);
  const startedAt = performance.now();
  const { outcome, attempts } = await attemptAll(walk, task);
  const ran = { id: task.id, attempts, durationMs: Math.round(performance.now() - startedAt), by: "run" } as const;
  if (signal.aborted) return { ...ran, state: "cancelled" };
  if (outcome.kind === "failed") {
    return { ...ran, state: "failed", reason: outcome.reason, error: outcome.error };
  }
  if (outcome.kind === "skipped") {
    const { reason } = outcome;
    return { ...ran, state: "skipped", reason, by: reason === "CONDITION" ? "condition" : "run" };
  }
  return { ...ran, state: "success", output: outcome.output as Json | undefined };
}

/** Attempts until one does not fail or the policy has no more. */
async function attemptAll(walk: Walk, task: TaskSpec): Promise<{ outcome: Ended; attempts: number }> {
  const { options } = walk;
  for (let number = 1; ; number++) {
    const outcome = await lookUntilEnd(walk, task, number);
    // An expression that fails would fail again, and a secret that is missing stays so.
    const isFinal = outcome.kind !== "failed" || ["EXPRESSION", "SECRET_MISSING"].includes(outcome.reason);
    if (outcome.kind === "success") walk.pushed.set(task.id, (outcome.pushed ?? {}) as Record<string, Json>);
    if (isFinal || options.signal.aborted) return { outcome, attempts: number };
    // Without waiting, the longest wait there could be is told.
    const next = nextRetry(task.retries, outcome, number, options.waits ? Math.random() : 1);
    if (!next.retry) return { outcome, attempts: number };
    const { waits } = options;
    const jitter = task.retries.jitter && !waits;
    options.on.retrying(task.id, { attempt: number, error: outcome.error, waitMs: next.delayMs, jitter, waits });
    if (waits) await delay(next.delayMs, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

type Ended = Exclude<Outcome, { kind: "deferred" }>;

/** One attempt with all its looks. Without waiting, the next look is after the least time there is between two. */
async function lookUntilEnd(walk: Walk, task: TaskSpec, number: number): Promise<Ended> {
  const { options, tools, params } = walk;
  const { spec } = options.dag;
  const startedAt = performance.now();
  for (;;) {
    const outcome = await runAttempt(tools, task, {
      number,
      dagId: spec.id,
      bundle: spec.bundle,
      conf: options.conf,
      params,
      times: options.times,
      inputs: inputsOf(walk, task),
      signal: options.signal,
      write: (stream, bytes) => options.on.output(task.id, stream, bytes),
    });
    if (outcome.kind !== "deferred") return outcome;
    const verdict = nextLook(task.timeout, performance.now() - startedAt, outcome);
    if (!verdict.again) return { kind: "failed", reason: "TIMEOUT", error: verdict.error };
    const { waits, signal } = options;
    options.on.deferred(task.id, { reason: verdict.reason, waitMs: verdict.afterMs, waits });
    await delay(waits ? verdict.afterMs : MIN_LOOK_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return { kind: "failed", reason: "STOPPED", error: verdict.reason };
  }
}

function inputsOf({ outputs, pushed }: Walk, task: TaskSpec): ParentXcoms {
  return { outputs: ofParents(outputs, task), xcoms: ofParents(pushed, task) };
}

function ofParents<T>(left: ReadonlyMap<string, T>, { dependsOn }: TaskSpec): Record<string, T> {
  return Object.fromEntries(dependsOn.flatMap((id) => (left.has(id) ? [[id, left.get(id)!] as const] : [])));
}
