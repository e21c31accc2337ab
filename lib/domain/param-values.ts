import { z } from "zod";
import { type Json } from "./canonical.ts";
import type { ParamSchema } from "./model/params.ts";

export type ParamValues = Record<string, Json>;
export type ParamResult = { ok: true; params: ParamValues } | { ok: false; problems: string[] };

/**
 * The values a run's tasks see: what it was triggered with, checked against the DAG's params, with their defaults
 * where nothing was given. A value that no param names is passed through.
 */
export function paramValues(schemas: Record<string, ParamSchema>, conf: Record<string, unknown>): ParamResult {
  const problems: string[] = [];
  const values: [string, Json][] = [];
  for (const [name, schema] of Object.entries(schemas)) {
    const given = Object.hasOwn(conf, name) ? conf[name] : schema.default;
    if (given === undefined) problems.push(`param "${name}" has no default and must be given`);
    else {
      const parsed = validator(schema).safeParse(given);
      if (parsed.success) values.push([name, parsed.data as Json]);
      else
        problems.push(
          ...parsed.error.issues.map((issue) => `param "${[name, ...issue.path].join(".")}": ${issue.message}`),
        );
    }
  }
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, params: Object.fromEntries([...Object.entries(conf as ParamValues), ...values]) };
}

/** Throws for a schema that says something the library cannot check. */
export function validator(schema: ParamSchema): z.ZodType {
  return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
}
