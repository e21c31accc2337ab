import { z } from "zod";
import { Time } from "./fields.ts";
import { op } from "./op.ts";

export const WORKER_STATES = ["active", "trouble", "draining", "stopped", "gone"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export const Worker = z.strictObject({
  id: z.string().describe("Its name."),
  host: z.string(),
  pid: z.number().int(),
  version: z.string(),
  state: z
    .enum(WORKER_STATES)
    .describe(
      "`trouble`: it can start no task and claims none. `gone`: its lease ran out; it has not said that it stops.",
    ),
  trouble: z.string().nullable().describe("Why it can start no task."),
  troubleSince: Time.nullable(),
  queues: z.array(z.string()),
  slots: z.strictObject({ process: z.number().int(), function: z.number().int(), inline: z.number().int() }),
  running: z.number().int().describe("Attempts that it has claimed and that have not ended."),
  startedAt: Time,
});
export type Worker = z.infer<typeof Worker>;

export const listWorkers = op({
  method: "GET",
  path: "/workers",
  summary:
    "The workers by name, at most 500, those in trouble first: what each has room for, and why one starts nothing.",
  access: "viewer",
  returns: { 200: z.strictObject({ items: z.array(Worker) }) },
  errors: ["unauthenticated"],
});
