import { z } from "zod";
import { op } from "./op.ts";

/** Open to everybody, so without reasons: those are in the log. */
export const ReadyCheck = z.strictObject({
  name: z.string(),
  ok: z.boolean().describe("Whether the last useful round through it is young enough."),
});
export type ReadyCheck = z.infer<typeof ReadyCheck>;

export const Readiness = z.strictObject({ status: z.enum(["ok", "unavailable"]), checks: z.array(ReadyCheck) });
export type Readiness = z.infer<typeof Readiness>;

export const health = op({
  method: "GET",
  path: "/health",
  summary: "The process answers; says nothing about what it depends on.",
  access: "open",
  returns: { 200: z.strictObject({ status: z.literal("ok") }) },
  errors: [],
});

export const dagSchema = op({
  method: "GET",
  path: "/schemas/dag",
  summary: "The JSON Schema of definition files, for editors.",
  access: "open",
  returns: { 200: z.record(z.string(), z.json()) },
  errors: [],
});

export const ready = op({
  method: "GET",
  path: "/ready",
  summary: "Whether this process can serve: thread pool, database, migrations, change listener.",
  access: "open",
  returns: { 200: Readiness, 503: Readiness },
  errors: [],
});
