import type { z } from "zod";
import type { Operation } from "#lib/contract/op.ts";
import { AppError } from "#lib/domain/errors.ts";
import { storableProblems } from "#lib/domain/storable.ts";

type Parsed<S> = S extends z.ZodType ? z.infer<S> : undefined;
type Part<O extends Operation, K extends keyof Operation> = O extends Record<K, infer S> ? Parsed<S> : undefined;

/** What a handler gets of its request, each part as its schema made it. */
export type Input<O extends Operation> = {
  params: Part<O, "params">;
  query: Part<O, "query">;
  headers: Part<O, "headers">;
  body: Part<O, "body">;
};

/** The path's parameters; one that cannot exist is as absent as one that does not. */
export function parseParams(operation: Operation, raw: unknown): unknown {
  const parsed = operation.params?.safeParse(raw);
  if (parsed === undefined || parsed.success) return parsed?.data;
  const code = operation.errors.find((error) => error.endsWith("_not_found")) ?? "not_found";
  throw new AppError(code, "Nothing has this id.");
}

/** Far more than any operation takes; the parser of forms takes time that grows with the square of their length. */
const MAX_QUERY = 4_096;

/**
 * What stands behind the ? of an address. A repeated query parameter is refused: guessing which one was meant would be wrong half
 * of the time.
 */
export function parseQuery(operation: Operation, query: string): unknown {
  if (query.length > MAX_QUERY)
    throw new AppError("invalid_request", `A query may have at most ${MAX_QUERY} characters.`);
  const search = new URLSearchParams(query);
  if (operation.query === undefined && search.size === 0) return undefined;
  const repeated = firstRepeated([...search.keys()]);
  if (repeated !== undefined) throw invalid([{ path: `query.${repeated}`, message: "is given twice" }]);
  const unknown = operation.query === undefined ? [...search.keys()] : [];
  if (unknown.length > 0) throw invalid(unknown.map((key) => ({ path: `query.${key}`, message: "is not known here" })));
  return parsePart("query", operation.query, Object.fromEntries(search));
}

function firstRepeated(keys: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return keys.find((key) => {
    const isRepeated = seen.has(key);
    seen.add(key);
    return isRepeated;
  });
}

/** Only the headers the operation names. */
export function parseHeaders(operation: Operation, headers: Headers): unknown {
  const names = Object.keys(operation.headers?.shape ?? {});
  const given = names.flatMap((name) => (headers.has(name) ? [[name, headers.get(name)] as const] : []));
  return parsePart("headers", operation.headers, Object.fromEntries(given));
}

/** The body, already JSON. */
export function parseBody(operation: Operation, json: unknown): unknown {
  return parsePart("body", operation.body, json);
}

/** A text that no column can hold is refused here, before any of it reaches a statement. */
function parsePart(part: string, schema: z.ZodObject | undefined, raw: unknown): unknown {
  const unstorable = storableProblems(raw);
  if (unstorable.length > 0)
    throw invalid(unstorable.map(({ path, message }) => ({ path: [part, ...path].map(String).join("."), message })));
  const parsed = schema?.safeParse(raw);
  if (parsed === undefined || parsed.success) return parsed?.data;
  throw invalid(
    parsed.error.issues.map((issue) => ({ path: [part, ...issue.path].map(String).join("."), message: issue.message })),
  );
}

/** More than anybody reads at once: of mistakes, and of characters of one. */
const MAX_ERRORS = 20;
const MAX_MESSAGE = 1_000;

function invalid(all: { path: string; message: string }[]): AppError {
  const errors = all
    .slice(0, MAX_ERRORS)
    .map(({ path, message }) => ({ path, message: message.slice(0, MAX_MESSAGE) }));
  const detail = errors.map(({ path, message }) => `${path}: ${message}`).join("; ");
  return new AppError("invalid_request", detail, { errors });
}
