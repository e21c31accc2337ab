import { z } from "zod";
import { canonicalJson, type Json, sha256 } from "../canonical.ts";
import { MAX_TASKS_PER_RUN } from "../ids.ts";
import { DagCallbacks } from "./callbacks.ts";
import { compact } from "./compact.ts";
import { Duration } from "./duration.ts";
import { DagId, Text } from "./names.ts";
import { Params } from "./params.ts";
import { Instant, Schedule, Timezone } from "./schedule.ts";
import { PRIORITIES, TaskSpec } from "./task.ts";
import type { TaskType } from "./task-types.ts";

/**
 * The canonical model of a DAG: plain data. YAML, JSON and the TypeScript builder all produce it, the
 * database stores it per version, and everything behind it reads only this.
 */

const count = z.int().min(1).max(1_000_000);

const Limits = z.strictObject({
  maxActiveRuns: count.default(16).describe("Runs of the DAG that are going at once; others wait."),
  maxActiveTasks: count.optional().describe("Tasks of the DAG that run at once, over all its runs."),
  maxActiveTasksPerRun: count.optional().describe("Tasks of one run that run at once."),
});

export const CATCHUPS = ["none", "latest", "all"] as const;

export const dagFields = {
  id: DagId.describe("The DAG's unique name, in addresses and commands."),
  name: Text(256).min(1).optional().describe("What people see instead of the id."),
  description: Text(4_096).optional(),
  owner: Text(128).min(1).optional().describe("Who to ask."),
  tags: z.array(Text(64).min(1)).max(32).default([]).describe("Words to find the DAG by."),
  schedule: Schedule.describe(
    "When runs are due: a cron expression, an interval, or a list of them. Kept with the version; nothing acts on it yet.",
  ),
  timezone: Timezone.default("UTC").describe(
    "The zone that cron expressions are meant in. Kept with the version; nothing acts on it yet.",
  ),
  startDate: Instant.optional().describe("No run is due before. Kept with the version; nothing acts on it yet."),
  endDate: Instant.optional().describe("No run is due after. Kept with the version; nothing acts on it yet."),
  catchup: z
    .enum(CATCHUPS)
    .default("none")
    .describe(
      "What happens to runs that were due while nothing could start them. Kept with the version; nothing acts on it yet.",
    ),
  params: Params,
  limits: Limits.prefault({}).describe("How much of the DAG goes on at once."),
  priority: z.enum(PRIORITIES).default("medium").describe("Of its tasks among those of other DAGs."),
  sla: Duration()
    .optional()
    .describe("A run should have ended this long after it began. Kept with the version; nothing acts on it yet."),
  callbacks: DagCallbacks.prefault({}).describe(
    "Requests that are made when a run ended; without a body of their own they send what happened.",
  ),
};

export const DagSpec = z
  .strictObject({
    ...dagFields,
    tasks: z.array(TaskSpec).min(1, "a DAG has at least one task").max(MAX_TASKS_PER_RUN),
    bundle: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .describe("Hash of the code its functions come from."),
  })
  .superRefine(checkDates);
export type DagSpec = z.output<typeof DagSpec>;

/** Shared with the file face, which has the same dates. */
export function checkDates(
  dag: { startDate?: string | undefined; endDate?: string | undefined },
  context: z.RefinementCtx,
): void {
  if (dag.startDate === undefined || dag.endDate === undefined || dag.startDate < dag.endDate) return;
  context.addIssue({
    code: "custom",
    path: ["endDate"],
    message: `endDate must be after startDate (${dag.startDate})`,
  });
}

const DAG_DEFAULTS = z.strictObject(dagFields).parse({ id: "x" });

/** A task of this type of which nothing is said but what must be. */
const TASK_DEFAULTS: Record<TaskType, TaskSpec> = {
  bash: TaskSpec.parse({ id: "x", type: "bash", config: { command: "x" } }),
  python: TaskSpec.parse({ id: "x", type: "python", config: { code: "x" } }),
  fn: TaskSpec.parse({ id: "x", type: "fn", config: { module: "x", export: "x" } }),
  http: TaskSpec.parse({ id: "x", type: "http", config: { url: "x" } }),
  sql: TaskSpec.parse({ id: "x", type: "sql", config: { connection: "x", query: "x" } }),
  noop: TaskSpec.parse({ id: "x", type: "noop", config: {} }),
};

/** Members that are always written, also when they look like the sample's. */
const DAG_KEPT = new Set(["id"]);
const TASK_KEPT: Record<TaskType, ReadonlySet<string>> = {
  bash: new Set(["id", "type", "command"]),
  python: new Set(["id", "type", "code"]),
  fn: new Set(["id", "type", "module", "export"]),
  http: new Set(["id", "type", "url"]),
  sql: new Set(["id", "type", "connection", "query"]),
  noop: new Set(["id", "type"]),
};

/**
 * The spec without what it would have anyway: what is stored, hashed, compared and written to files.
 * `DagSpec.parse` of it gives the spec back. A new optional field thus changes no hash of an old spec.
 */
export function compactSpec(spec: DagSpec): { [key: string]: Json } & { tasks: { [key: string]: Json }[] } {
  const { tasks, ...dag } = spec;
  return {
    ...(compact(dag, DAG_DEFAULTS, DAG_KEPT) as Record<string, Json>),
    tasks: tasks.map((task) => ({
      config: {},
      ...(compact(task, TASK_DEFAULTS[task.type], TASK_KEPT[task.type]) as Record<string, Json>),
    })),
  };
}

/** The same hash means the same behaviour: it covers every field and, through `bundle`, the code. */
export function specHash(spec: DagSpec): string {
  return sha256(canonicalJson(compactSpec(spec)));
}
