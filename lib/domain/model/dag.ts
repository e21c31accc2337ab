import { z } from "zod";
import { canonicalJson, type Json, sha256 } from "../canonical.ts";
import { MAX_TASKS_PER_DAG } from "../ids.ts";
import { scheduleProblems } from "../schedule/check.ts";
import { Calendars } from "./calendar.ts";
import { SLOT_CLASSES, type SlotClass } from "../states.ts";
import { DagCallbacks } from "./callbacks.ts";
import { compact } from "./compact.ts";
import { Duration } from "./duration.ts";
import { checkStorable, DagId, Text, TypeName } from "./names.ts";
import { Params } from "./params.ts";
import { RetentionField } from "./retention.ts";
import { Instant, Schedule, Timezone } from "./schedule.ts";
import { PRIORITIES, TaskCommon, TaskSpec } from "./task.ts";
import { builtInType, TASK_TYPES } from "./task-types.ts";
import type { TypeLook } from "./type-facts.ts";

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

const Catchup = z.union([
  z.enum(CATCHUPS),
  z
    .strictObject({
      policy: z.enum(CATCHUPS),
      max: z
        .int()
        .min(1)
        .max(100_000)
        .optional()
        .describe("How many missed runs of a schedule are made up for under `all`; the latest ones."),
    })
    .refine(({ policy, max }) => max === undefined || policy === "all", {
      message: "max is a limit of policy all; leave it out",
      path: ["max"],
    }),
]);

export const dagFields = {
  id: DagId.describe("The DAG's unique name, in addresses and commands."),
  name: Text(256).min(1).optional().describe("What people see instead of the id."),
  description: Text(4_096).optional(),
  owner: Text(128).min(1).optional().describe("Who to ask."),
  tags: z.array(Text(64).min(1)).max(32).default([]).describe("Words to find the DAG by."),
  schedule: Schedule.describe(
    "When runs are due: a cron expression, an interval, or a list of them ([schedules](schedules.md)).",
  ),
  timezone: Timezone.default("UTC").describe("The zone that schedules are meant in."),
  calendars: Calendars,
  startDate: Instant.optional().describe("No run is due before."),
  endDate: Instant.optional().describe("No run is due after."),
  catchup: Catchup.default("latest").describe(
    "What happens to runs that were due while nothing could start them: `none` leaves them out, `latest` starts the last of them, `all` all of them (up to `max`, or 1,000).",
  ),
  retention: RetentionField.optional().describe(
    "How long runs are kept after they ended, with their logs and history ([retention](retention.md)); without it, for the default of all DAGs.",
  ),
  params: Params,
  limits: Limits.prefault({}).describe("How much of the DAG goes on at once."),
  priority: z.enum(PRIORITIES).default("medium").describe("Of its tasks that have none of their own."),
  sla: Duration()
    .optional()
    .describe("A run should have ended this long after it began. Kept with the version; nothing acts on it yet."),
  callbacks: DagCallbacks.prefault({}).describe(
    "Requests that are made when a run ended; without a body of their own they send what happened.",
  ),
};

/** What is kept of a plugin's type with each version that uses it: readers of the version need not know the plugin. */
const UsedType = z.strictObject({
  displayName: z.string(),
  icon: z.string(),
  slotClass: z.enum(SLOT_CLASSES),
});

const TIMES = ["id", "schedule", "timezone", "startDate", "endDate", "calendars", "params"] as const;
const DagFields = z.strictObject(dagFields);

export const DagSpec = z
  .strictObject({
    ...dagFields,
    tasks: z.array(TaskSpec).min(1, "a DAG has at least one task").max(MAX_TASKS_PER_DAG),
    bundle: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .describe("Hash of the code its functions come from."),
    types: z
      .record(TypeName, UsedType)
      .optional()
      .describe("The types of task that plugins brought, as they were when the DAG was loaded."),
  })
  .superRefine(checkTimes)
  .superRefine(checkStorable)
  .superRefine(({ tasks, types }, context) => {
    tasks.forEach(({ type }, index) => {
      if (builtInType(type) !== undefined || Object.hasOwn(types ?? {}, type)) return;
      context.addIssue({ code: "custom", path: ["tasks", index, "type"], message: `"${type}" is no type of task` });
    });
  });
export type DagSpec = z.output<typeof DagSpec>;

/** Shared with the file face, which has the same schedules and dates. */
export function checkTimes(
  dag: Pick<z.output<typeof DagFields>, (typeof TIMES)[number]>,
  context: z.RefinementCtx,
): void {
  if (dag.startDate !== undefined && dag.endDate !== undefined && dag.startDate >= dag.endDate) {
    const message = `endDate must be after startDate (${dag.startDate})`;
    return context.addIssue({ code: "custom", path: ["endDate"], message });
  }
  const needed =
    dag.schedule.length === 0 ? [] : Object.entries(dag.params).filter(([, { default: value }]) => value === undefined);
  for (const [name] of needed) {
    const message = `a run that a schedule starts is given no params, so "${name}" needs a default`;
    context.addIssue({ code: "custom", path: ["params", name], message });
  }
  for (const { path, message } of scheduleProblems(dag)) context.addIssue({ code: "custom", path, message });
}

const DAG_DEFAULTS = DagFields.parse({ id: "x" });

const COMMON_DEFAULTS = TaskCommon.parse({ id: "x" });

/** By type, what a config has that says nothing: the members that need not be written. A plugin's are as written. */
const CONFIG_DEFAULTS: ReadonlyMap<string, object> = new Map(
  Object.entries(TASK_TYPES).map(([type, { config }]) => [type, unwrittenMembers(config)]),
);

function unwrittenMembers({ shape }: z.ZodObject): object {
  const members = Object.entries(shape).flatMap(([key, schema]) => {
    const unwritten = (schema as z.ZodType).safeParse(undefined);
    return unwritten.success ? [[key, unwritten.data] as const] : [];
  });
  return Object.fromEntries(members);
}

/** Always written, also when it looks like the sample's. */
const KEPT = new Set(["id"]);

/**
 * The spec without what it would have anyway: what is stored, hashed, compared and written to files.
 * `DagSpec.parse` of it gives the spec back. A new optional field thus changes no hash of an old spec.
 */
export function compactSpec(spec: DagSpec): { [key: string]: Json } & { tasks: { [key: string]: Json }[] } {
  const { tasks, ...dag } = spec;
  return {
    ...(compact(dag, DAG_DEFAULTS, KEPT) as Record<string, Json>),
    tasks: tasks.map(({ config, ...task }) => ({
      ...(compact(task, COMMON_DEFAULTS, KEPT) as Record<string, Json>),
      config: compact(config, CONFIG_DEFAULTS.get(task.type) ?? {}),
    })),
  };
}

/** The same hash means the same behaviour: it covers every field and, through `bundle`, the code. */
export function specHash(spec: DagSpec): string {
  return sha256(canonicalJson(compactSpec(spec)));
}

/** Which of a worker's slots a task of the spec takes. */
export function slotClassOf({ type }: TaskSpec, { types }: Pick<DagSpec, "types">): SlotClass {
  const entry = builtInType(type) ?? types?.[type];
  if (entry === undefined) throw new Error(`"${type}" is no type of task`);
  return entry.slotClass;
}

/** What people see of the types of the spec's tasks, each once. */
export function typeLooks({ tasks, types }: Pick<DagSpec, "tasks" | "types">): Record<string, TypeLook> {
  const looks = [...new Set(tasks.map((task): string => task.type))].flatMap((type) => {
    const entry = builtInType(type) ?? types?.[type];
    return entry === undefined ? [] : [[type, { displayName: entry.displayName, icon: entry.icon }] as const];
  });
  return Object.fromEntries(looks);
}
