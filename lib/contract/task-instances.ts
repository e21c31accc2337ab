import { z } from "zod";
import { LOG_LEVELS } from "#lib/domain/log-lines/level-words.ts";
import { ATTEMPT_STATES, TASK_STATES } from "#lib/domain/states.ts";
import { Id, Time } from "./fields.ts";
import { EVENT_STREAM, op, PLAIN_TEXT } from "./op.ts";

export const TaskInstance = z.strictObject({
  id: Id,
  runId: Id,
  taskId: z.string(),
  type: z.string(),
  queue: z.string(),
  state: z.enum(TASK_STATES),
  attempt: z.number().int().describe("Number of the latest attempt; 0 before the first."),
  lostAttempts: z.number().int(),
  workerId: z.string().nullable(),
  readyAt: Time.nullable(),
  notBefore: Time.nullable().describe("When it goes on, of one that is retrying or deferred."),
  waitsFor: z.string().nullable().describe("What a deferred one waits for, as it said itself."),
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
});
export type TaskInstance = z.infer<typeof TaskInstance>;

export const Attempt = z.strictObject({
  number: z.number().int(),
  state: z.enum(ATTEMPT_STATES),
  reason: z.string().nullable(),
  exitCode: z.number().int().nullable(),
  error: z.string().nullable(),
  peakMemoryBytes: z.number().nullable().describe("The most memory that its process had; null where nobody counted."),
  cpuMs: z.number().int().nullable().describe("Time of processors that its process took."),
  deferrals: z
    .number()
    .int()
    .describe("How often it said that it is to look again; usage and log are of all its looks."),
  lostLogBytes: z
    .number()
    .int()
    .describe("Bytes of its output that are not in its log, because the database did not store them; mostly 0."),
  workerId: z.string().nullable(),
  queuedAt: Time,
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
});
export type Attempt = z.infer<typeof Attempt>;

export const TaskInstanceDetail = z.strictObject({
  ...TaskInstance.shape,
  dagId: z.string(),
  history: z.array(Attempt).describe("Every attempt so far, oldest first."),
});
export type TaskInstanceDetail = z.infer<typeof TaskInstanceDetail>;

/** Data of a `chunk` event of a followed log. */
export const LogChunk = z.strictObject({
  seq: z.number().int(),
  stream: z.enum(["stdout", "stderr", "system"]),
  at: Time,
  text: z.string(),
});
export type LogChunk = z.infer<typeof LogChunk>;

/** Data of the `end` event of a followed log; null when the task ended without this attempt. */
export const LogEnd = z.strictObject({ attempt: Attempt.nullable() });
export type LogEnd = z.infer<typeof LogEnd>;

const taskParams = z.strictObject({ taskInstanceId: Id });

export const getTaskInstance = op({
  method: "GET",
  path: "/task-instances/{taskInstanceId}",
  summary: "One task instance with its attempts.",
  access: "viewer",
  params: taskParams,
  returns: { 200: TaskInstanceDetail },
  errors: ["unauthenticated", "task_instance_not_found"],
});

export const readTaskLog = op({
  method: "GET",
  path: "/task-instances/{taskInstanceId}/logs",
  summary: "An attempt's log: the exact bytes, or followed as `chunk` events until `end`.",
  access: "viewer",
  params: taskParams,
  query: z.strictObject({
    attempt: z.coerce
      .number()
      .int()
      .min(1)
      .max(2 ** 31 - 1)
      .optional()
      .describe("The latest one when absent."),
    follow: z.enum(["true", "false"]).optional(),
    level: z
      .enum(LOG_LEVELS)
      .optional()
      .describe(
        "Of a log that is not followed, only the lines at least as grave. A line that says no level counts as `info`.",
      ),
  }),
  headers: z.object({
    accept: z.string().optional(),
    "last-event-id": z
      .string()
      .regex(/^[0-9]{1,10}$/)
      .optional()
      .catch(undefined),
  }),
  returns: { 200: [PLAIN_TEXT, EVENT_STREAM] },
  errors: ["invalid_request", "unauthenticated", "task_instance_not_found"],
});
