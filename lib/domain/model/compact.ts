import { canonicalJson, type Json } from "../canonical.ts";

const isObject = (value: unknown): value is Record<string, Json> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The object `value` without the members that equal those of `defaults`, at every depth where both have an object.
 * Members named in `kept` stay. Merging the defaults back in gives `value`.
 */
export function compact(value: object, defaults: object, kept: ReadonlySet<string> = new Set()): Json {
  const base = defaults as Record<string, Json | undefined>;
  const members = Object.entries(value as Record<string, Json | undefined>).flatMap(
    ([key, member]): [string, Json][] => {
      if (member === undefined) return [];
      if (kept.has(key)) return [[key, member]];
      const fallback = base[key];
      if (fallback === undefined) return [[key, member]];
      if (canonicalJson(member) === canonicalJson(fallback)) return [];
      return [[key, isObject(member) && isObject(fallback) ? compact(member, fallback, kept) : member]];
    },
  );
  return Object.fromEntries(members);
}
