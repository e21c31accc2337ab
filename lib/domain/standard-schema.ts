/**
 * What validation libraries have in common (https://standardschema.dev): zod from 3.24, valibot, arktype and others. A
 * schema of any of them will do where this type stands.
 */
export type StandardSchema<Input = unknown, Output = Input> = {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Verdict<Output> | Promise<Verdict<Output>>;
    /** Only for the compiler: what goes in and what comes out. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
};

type Verdict<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

type StandardIssue = {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
};

export type InputOf<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>["input"];
export type OutputOf<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>["output"];

/** What is wrong at a place in a value. `unknownKeys` are keys of the mapping there that it does not take. */
export type SchemaIssue = { path: PropertyKey[]; message: string; unknownKeys?: string[] };

export type Checked<Output> = { ok: true; value: Output } | { ok: false; issues: SchemaIssue[] };

/** Said of a schema that answers with a promise: it would be asked where nobody can wait. */
export const ANSWERS_LATER = "the schema answers with a promise; one that answers at once is needed";

/** The value as the schema makes it, or everything that is wrong. Never throws, whatever the schema does. */
export function checkBy<Output>(schema: StandardSchema<unknown, Output>, value: unknown): Checked<Output> {
  try {
    const verdict = schema["~standard"].validate(value);
    if (verdict instanceof Promise) {
      // Nobody waits for it any more.
      verdict.catch(() => undefined);
      return refused(ANSWERS_LATER);
    }
    if (verdict.issues === undefined) return { ok: true, value: verdict.value };
    return { ok: false, issues: verdict.issues.map(readIssue) };
  } catch (error) {
    return refused(`the schema failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const refused = (message: string): { ok: false; issues: SchemaIssue[] } => ({
  ok: false,
  issues: [{ path: [], message }],
});

function readIssue(issue: StandardIssue): SchemaIssue {
  const path = (issue.path ?? []).map((segment) => (typeof segment === "object" ? segment.key : segment));
  // Where other libraries point at the key, zod points at the mapping and names the keys beside it.
  const keys: unknown =
    "keys" in issue && "code" in issue && issue.code === "unrecognized_keys" ? issue.keys : undefined;
  const unknownKeys = Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : [];
  return { path, message: issue.message, ...(unknownKeys.length === 0 ? {} : { unknownKeys }) };
}

/**
 * The keys of the mapping at this path; undefined for a library that does not say (https://standardschema.dev/json-schema).
 */
export function keysOf(schema: StandardSchema, path: readonly PropertyKey[]): string[] | undefined {
  let here: unknown = jsonSchemaOf(schema);
  for (const key of path) {
    const { properties, items, additionalProperties } = asMembers(here);
    here = typeof key === "number" ? items : (asMembers(properties)[String(key)] ?? additionalProperties);
  }
  const { properties } = asMembers(here);
  return properties === undefined ? undefined : Object.keys(asMembers(properties));
}

type Members = Record<string, unknown>;

const asMembers = (value: unknown): Members => (typeof value === "object" && value !== null ? (value as Members) : {});

/** The JSON Schema of what may be written, to be put into another; undefined for a library that does not give one. */
export function jsonSchemaOf(schema: StandardSchema): Members | undefined {
  const { jsonSchema } = schema["~standard"] as { jsonSchema?: { input?: unknown } };
  if (typeof jsonSchema?.input !== "function") return undefined;
  try {
    const { $schema: _, ...schema } = asMembers(
      (jsonSchema.input as (options: object) => unknown)({ target: "draft-2020-12" }),
    );
    // A reference is from the root of a document, where this one will not stand.
    return JSON.stringify(schema).includes('"$ref"') ? undefined : schema;
  } catch {
    // Not everything that can be checked can be said in JSON Schema.
    return undefined;
  }
}
