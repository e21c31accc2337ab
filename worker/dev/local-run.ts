import type { Json } from "#lib/domain/canonical.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import type { TaskState } from "#lib/domain/states.ts";
import type { Stream } from "#lib/executors/executor.ts";
import type { ContainerSettings } from "#lib/executors/docker/containers.ts";
import type { Executors } from "#lib/executors/registry.ts";
import type { LoadedDag } from "../loader/load-file.ts";
import type { PluginPlaces } from "../plugins/places.ts";
import type { SecretProvider } from "../secrets/provider.ts";

/** What a run of a DAG in one process tree is asked for, tells meanwhile, and ends as. */

export type LocalRunOptions = {
  dag: LoadedDag;
  /** Where the DAG's packages are looked for. */
  dagsDir: string;
  /** What the run is triggered with, before defaults. */
  conf: Record<string, unknown>;
  /** Tasks that are not run, with the output they leave. */
  mocks: ReadonlyMap<string, Json>;
  /** Only these run; the others count as succeeded. Empty: all run. */
  only: readonly string[];
  /** What it is about. */
  times: RunTimes;
  /** Environment of the processes that run the user's code. */
  env: Record<string, string>;
  /** Private addresses that HTTP tasks may reach. */
  httpAllow: readonly string[];
  docker: ContainerSettings;
  secrets: SecretProvider;
  executors: Executors;
  /** Where the executors' plugins are, which the DAG's code may import. */
  plugins?: PluginPlaces;
  /** Wait before a retry or the next look as long as a worker would. */
  waits: boolean;
  /** Ends what runs and cancels the rest. */
  signal: AbortSignal;
  on: LocalRunEvents;
};

export type LocalRunEvents = {
  started(taskId: string): void;
  output(taskId: string, stream: Stream, bytes: Buffer): void;
  retrying(taskId: string, retry: Retrying): void;
  deferred(taskId: string, look: Deferred): void;
  ended(end: TaskEnd): void;
};

/** An attempt failed and another follows after `waitMs`: at most, with `jitter`; and only if it `waits` at all. */
export type Retrying = { attempt: number; error: string; waitMs: number; jitter: boolean; waits: boolean };

/** A task said "not yet", and looks again after `waitMs` if it `waits`, else soon. */
export type Deferred = { reason: string; waitMs: number; waits: boolean };

/** How a task came to its end: by running, or without. */
export type EndedBy = "run" | "mock" | "not selected" | "condition" | "rule" | "stop";

export type TaskEnd = {
  id: string;
  state: Extract<TaskState, "success" | "failed" | "skipped" | "upstream_failed" | "cancelled">;
  by: EndedBy;
  attempts: number;
  durationMs: number;
  output?: Json | undefined;
  reason?: string | undefined;
  error?: string | undefined;
};

export type LocalRun = {
  dagId: string;
  state: "success" | "failed" | "cancelled";
  durationMs: number;
  params: Record<string, Json>;
  /** In the order they came to their end. */
  tasks: TaskEnd[];
};

/** `problems` are mistakes in what was asked for: nothing has run. */
export type LocalRunResult = { ok: true; run: LocalRun } | { ok: false; problems: string[] };
