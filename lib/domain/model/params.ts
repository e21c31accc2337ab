import { z } from "zod";
import { StorableData, Text } from "./names.ts";

/** The values a run may be given: a JSON Schema each, by name. */

const ParamName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, "a param's name has A-Z, a-z, 0-9 and _, and does not start with a digit");

export const PARAM_TYPES = ["string", "number", "integer", "boolean", "array", "object", "null"] as const;

/** The part of JSON Schema (2020-12) that params use; a key that is not here is a mistake worth telling. */
export const ParamSchema: z.ZodType<ParamSchema> = z.lazy(() =>
  z.strictObject({
    type: z.union([z.enum(PARAM_TYPES), z.array(z.enum(PARAM_TYPES)).min(1)]).optional(),
    title: Text(256).optional(),
    description: Text(4_096).optional(),
    default: StorableData.optional(),
    examples: z.array(StorableData).optional(),
    enum: z.array(StorableData).min(1).max(1_000).optional(),
    const: StorableData.optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    exclusiveMinimum: z.number().optional(),
    exclusiveMaximum: z.number().optional(),
    multipleOf: z.number().positive().optional(),
    minLength: z.int().min(0).optional(),
    maxLength: z.int().min(0).optional(),
    format: z.enum(["date", "date-time", "time", "email", "uri", "uuid"]).optional(),
    items: ParamSchema.optional(),
    minItems: z.int().min(0).optional(),
    maxItems: z.int().min(0).optional(),
    uniqueItems: z.boolean().optional(),
    properties: z.record(z.string(), ParamSchema).optional(),
    required: z.array(z.string()).optional(),
    additionalProperties: z.union([z.boolean(), ParamSchema]).optional(),
  }),
);

export type ParamSchema = {
  type?: (typeof PARAM_TYPES)[number] | (typeof PARAM_TYPES)[number][] | undefined;
  title?: string | undefined;
  description?: string | undefined;
  default?: z.core.util.JSONType | undefined;
  examples?: z.core.util.JSONType[] | undefined;
  enum?: z.core.util.JSONType[] | undefined;
  const?: z.core.util.JSONType | undefined;
  minimum?: number | undefined;
  maximum?: number | undefined;
  exclusiveMinimum?: number | undefined;
  exclusiveMaximum?: number | undefined;
  multipleOf?: number | undefined;
  minLength?: number | undefined;
  maxLength?: number | undefined;
  format?: "date" | "date-time" | "time" | "email" | "uri" | "uuid" | undefined;
  items?: ParamSchema | undefined;
  minItems?: number | undefined;
  maxItems?: number | undefined;
  uniqueItems?: boolean | undefined;
  properties?: Record<string, ParamSchema> | undefined;
  required?: string[] | undefined;
  additionalProperties?: boolean | ParamSchema | undefined;
};

export const Params = z
  .record(ParamName, ParamSchema)
  .default({})
  .describe("Values a run may be given: name to JSON Schema. One without `default` must be given.");
