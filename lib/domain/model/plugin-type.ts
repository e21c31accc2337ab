import { hasExpression } from "../expressions/template.ts";
import { checkBy, keysOf, type SchemaIssue, type StandardSchema } from "../standard-schema.ts";
import { storableText, textTrouble } from "../storable.ts";
import type { TypeFacts } from "./type-facts.ts";

/** A type of task that a plugin brings, as the reader of definitions knows it. */
export type PluginType = TypeFacts & {
  type: string;
  /** What a config must be. Absent where only the facts are known: there, every mapping will do. */
  config?: StandardSchema | undefined;
  /** The same for editors, as far as the plugin's library can say it. */
  jsonSchema?: Record<string, unknown> | undefined;
};

export type PluginTypes = readonly PluginType[];

export const NO_PLUGINS: PluginTypes = [];

/** Something wrong with a config; `known` are the keys that may stand where an unknown one does. */
export type ConfigIssue = SchemaIssue & { known?: readonly string[] | undefined };

/**
 * What is wrong with a config as it is written. Where an expression stands, the value that counts is not known yet: what
 * the schema says of such a place is left for the worker, which checks again.
 */
export function configIssues({ config: schema }: PluginType, config: Record<string, unknown>): ConfigIssue[] {
  const unstorable = storableIssues(config, []);
  if (unstorable.length > 0 || schema === undefined) return unstorable;
  const checked = checkBy(schema, config);
  if (checked.ok) return [];
  return checked.issues.flatMap((issue): ConfigIssue[] => {
    const here = valueAt(config, issue.path);
    if (isOpen(here, issue)) return [];
    if (issue.unknownKeys !== undefined) return [{ ...issue, known: keysOf(schema, issue.path) }];
    return [here === undefined ? { ...issue, message: `is missing (${issue.message})` } : issue];
  });
}

/** What stands at a path, or what ends the path before it. */
function valueAt(config: unknown, path: readonly PropertyKey[]): unknown {
  let here = config;
  for (const key of path) {
    if (typeof here !== "object" || here === null) break;
    here = Object.hasOwn(here, key) ? (here as Record<PropertyKey, unknown>)[key] : undefined;
  }
  return here;
}

function isOpen(here: unknown, { unknownKeys }: SchemaIssue): boolean {
  if (typeof here === "string") return hasExpression(here);
  // What is wrong with a mapping as a whole may be wrong only as long as a member has no value.
  return unknownKeys === undefined && holdsExpression(here);
}

function holdsExpression(value: unknown): boolean {
  if (typeof value === "string") return hasExpression(value);
  return typeof value === "object" && value !== null && Object.values(value).some(holdsExpression);
}

/** A config made by a program may hold what no version can keep. */
function storableIssues(value: unknown, path: readonly PropertyKey[]): ConfigIssue[] {
  if (typeof value === "string") {
    const message = textTrouble(value);
    return message === undefined ? [] : [{ path: [...path], message }];
  }
  if (value === null || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) return [];
  if (typeof value !== "object" || !isPlain(value))
    return [{ path: [...path], message: `must be plain data, as JSON has it, not ${kindOf(value)}` }];
  return Object.entries(value).flatMap(([key, member]) => {
    const trouble = textTrouble(key);
    if (trouble !== undefined) return [{ path: [...path], message: `the key "${storableText(key)}" ${trouble}` }];
    return member === undefined ? [] : storableIssues(member, [...path, Array.isArray(value) ? Number(key) : key]);
  });
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

function kindOf(value: unknown): string {
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "special object"}`;
  return typeof value === "number" ? String(value) : `a ${typeof value}`;
}
