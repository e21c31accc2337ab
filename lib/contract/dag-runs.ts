import { z } from "zod";
import { DagId } from "#lib/domain/model/names.ts";
import { RUN_ACTIONS, RUN_STATES, TRIGGER_KINDS } from "#lib/domain/states.ts";
import { Id, JsonObject, pageOf, pageQuery, Time } from "./fields.ts";
import { EVENT_STREAM, op } from "./op.ts";
import { TaskInstance } from "./task-instances.ts";

export const RunAction = z.strictObject({
  kind: z.enum(RUN_ACTIONS),
  actor: z.string(),
  requestedAt: Time,
  done: z.number().int().describe("How many tasks have their state, or are held or let go."),
  total: z.number().int().nullable().describe("How many are to; null until they are counted."),
});

export const DagRun = z.strictObject({
  id: Id,
  dagId: DagId,
  version: z.number().int(),
  state: z.enum(RUN_STATES),
  triggerKind: z.enum(TRIGGER_KINDS),
  scheduleId: Id.nullable(),
  backfillId: Id.nullable(),
  logicalDate: Time,
  intervalStart: Time.describe("The time that the run is about begins here."),
  intervalEnd: Time.describe("It ends here; at its start when it is about no time."),
  conf: JsonObject,
  note: z.string().nullable(),
  actor: z.string(),
  createdAt: Time,
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
  action: RunAction.nullable().describe(
    "What a person asked of the run and is being carried out; another action gets 409, unless this is a pause or a resume.",
  ),
});
export type DagRun = z.infer<typeof DagRun>;

/** What the event stream sends first. */
export const RunSnapshot = z.strictObject({ run: DagRun, tasks: z.array(TaskInstance) });
export type RunSnapshot = z.infer<typeof RunSnapshot>;

/** What it sends afterwards: only what is different. */
export const RunChange = z.strictObject({ run: DagRun.optional(), tasks: z.array(TaskInstance).optional() });
export type RunChange = z.infer<typeof RunChange>;

const runParams = z.strictObject({ runId: Id });

export const listDagRuns = op({
  method: "GET",
  path: "/dag-runs",
  summary: "Lists runs, newest first.",
  access: "viewer",
  query: z.strictObject({
    ...pageQuery,
    cursor: Id.optional(),
    dagId: DagId.optional(),
    state: z.enum(RUN_STATES).optional(),
  }),
  returns: { 200: pageOf(DagRun) },
  errors: ["invalid_request", "unauthenticated"],
});

export const getDagRun = op({
  method: "GET",
  path: "/dag-runs/{runId}",
  summary: "One run.",
  access: "viewer",
  params: runParams,
  returns: { 200: DagRun },
  errors: ["unauthenticated", "run_not_found"],
});

export const listRunTasks = op({
  method: "GET",
  path: "/dag-runs/{runId}/tasks",
  summary: "All task instances of a run, in definition order.",
  access: "viewer",
  params: runParams,
  returns: { 200: z.strictObject({ items: z.array(TaskInstance) }) },
  errors: ["unauthenticated", "run_not_found"],
});

export const watchDagRun = op({
  method: "GET",
  path: "/dag-runs/{runId}/events",
  summary: "A `snapshot` event, then `change` events with what is different, until the run has ended.",
  access: "viewer",
  params: runParams,
  returns: { 200: EVENT_STREAM },
  errors: ["unauthenticated", "run_not_found"],
});
