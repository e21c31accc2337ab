import type { z } from "zod";
import type { ErrorCode } from "#lib/domain/errors.ts";

/** Who may call: `open` = anybody, `viewer` = whoever is signed in, `operator` = who may change something. */
export type Access = "open" | "viewer" | "operator";

/** An answer that is no JSON document. */
export const EVENT_STREAM = "text/event-stream";
export const PLAIN_TEXT = "text/plain";
export type MediaType = typeof EVENT_STREAM | typeof PLAIN_TEXT;
export type Answer = z.ZodType | MediaType | readonly MediaType[];

/** One operation of the public API as data; `path` is below `/api/v1` and names its parameters as `{dagId}`. */
export type Operation = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly summary: string;
  readonly access: Access;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly headers?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly returns: Readonly<Record<number, Answer>>;
  readonly errors: readonly ErrorCode[];
};

/** Declares an operation and keeps its exact type. */
export function op<const O extends Operation>(operation: O): O {
  return operation;
}
