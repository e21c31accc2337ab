import { z } from "zod";
import { isId } from "#lib/domain/ids.ts";

export const Id = z
  .string()
  .refine(isId, "an id is a positive decimal number")
  .describe("A 64-bit id as decimal text.");
export const Time = z.iso.datetime().describe("ISO 8601 in UTC.");

/** Free JSON object, as `conf` of a run. */
export const JsonObject = z.record(z.string(), z.json());

export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(200).default(50),
};

/** A page of a list; `nextCursor` asks for the next one and is null on the last. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), nextCursor: z.string().nullable() });
}
