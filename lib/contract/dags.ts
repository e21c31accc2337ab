import { z } from "zod";
import { DagId } from "#lib/domain/model/names.ts";
import { DagRun } from "./dag-runs.ts";
import { JsonObject, pageOf, pageQuery, Time } from "./fields.ts";
import { op } from "./op.ts";
import { DueInPause, Schedule, ScheduleSummary } from "./schedules.ts";

export const Dag = z.strictObject({
  id: DagId,
  description: z.string().nullable(),
  owner: z.string().nullable(),
  tags: z.array(z.string()),
  file: z.string().describe("Where it is defined, relative to the DAGs folder."),
  missing: z.boolean().describe("The file is gone: no new runs start."),
  version: z.number().int(),
  paused: z.boolean().describe("Nothing of it fires, and no task of it starts but those of backfills."),
  pausedBy: z.string().nullable(),
  pausedAt: Time.nullable(),
  schedule: ScheduleSummary.nullable().describe("Null for a DAG without a schedule."),
  createdAt: Time,
  updatedAt: Time,
});
export type Dag = z.infer<typeof Dag>;

export const DagTask = z.strictObject({
  id: z.string(),
  type: z.string(),
  queue: z.string(),
  dependsOn: z.array(z.string()),
});
export type DagTask = z.infer<typeof DagTask>;

const TypeLook = z.strictObject({
  displayName: z.string(),
  icon: z.string().describe("A name, or the path of a drawing of 24 by 24 in lines."),
});

export const DagDetail = z.strictObject({
  ...Dag.shape,
  schedules: z.array(Schedule).describe("In the order of its definition."),
  dueInPause: DueInPause.nullable().describe("Null when it is not paused, or has no schedule."),
  tasks: z.array(DagTask),
  types: z.record(z.string(), TypeLook).describe("What people see of the types of its tasks."),
});
export type DagDetail = z.infer<typeof DagDetail>;

const dagParams = z.strictObject({ dagId: DagId });

export const listDags = op({
  method: "GET",
  path: "/dags",
  summary: "Lists the DAGs by id.",
  access: "viewer",
  query: z.strictObject({ ...pageQuery, cursor: DagId.optional() }),
  returns: { 200: pageOf(Dag) },
  errors: ["invalid_request", "unauthenticated"],
});

export const getDag = op({
  method: "GET",
  path: "/dags/{dagId}",
  summary: "One DAG with the tasks of its current version.",
  access: "viewer",
  params: dagParams,
  returns: { 200: DagDetail },
  errors: ["unauthenticated", "dag_not_found"],
});

export const triggerDag = op({
  method: "POST",
  path: "/dags/{dagId}/trigger",
  summary: "Starts a run. A repeated Idempotency-Key answers the run it started.",
  access: "operator",
  params: dagParams,
  headers: z.object({
    "idempotency-key": z
      .string()
      .regex(/^[\x20-\x7e]{1,255}$/, "has 1 to 255 printable ASCII characters")
      .optional(),
  }),
  body: z.strictObject({
    conf: JsonObject.optional(),
    logicalDate: z.iso
      .datetime({ offset: true })
      .optional()
      .describe(
        "The run is about the schedule's interval that begins here; without it, about the last one that is over.",
      ),
    note: z.string().max(4096).optional(),
  }),
  returns: { 200: DagRun, 201: DagRun },
  errors: [
    "invalid_request",
    "unauthenticated",
    "forbidden",
    "dag_not_found",
    "idempotency_key_reused",
    "payload_too_large",
    "unsupported_media_type",
  ],
});

export const pauseDag = op({
  method: "POST",
  path: "/dags/{dagId}/pause",
  summary:
    "Nothing of the DAG fires or starts until it is unpaused; what runs goes on to its end, and so do backfills.",
  access: "operator",
  params: dagParams,
  returns: { 200: DagDetail },
  errors: ["unauthenticated", "forbidden", "dag_not_found"],
});

export const unpauseDag = op({
  method: "POST",
  path: "/dags/{dagId}/unpause",
  summary: "Goes on with the DAG.",
  access: "operator",
  params: dagParams,
  body: z.strictObject({
    catchUp: z
      .boolean()
      .default(false)
      .describe("The DAG's catch-up policy decides about runs that were due in the pause; otherwise they never start."),
  }),
  returns: { 200: DagDetail },
  errors: [
    "invalid_request",
    "unauthenticated",
    "forbidden",
    "dag_not_found",
    "payload_too_large",
    "unsupported_media_type",
  ],
});
