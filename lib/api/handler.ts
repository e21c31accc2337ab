import type { z } from "zod";
import type { Actor } from "#lib/auth/authenticate.ts";
import type { WebDeps } from "#lib/boot.ts";
import type { Operation } from "#lib/contract/op.ts";
import type { Input } from "./input.ts";

type JsonReply<R> = { [S in keyof R]: R[S] extends z.ZodType ? { status: S; body: z.input<R[S]> } : never }[keyof R];

/** What a handler answers: a status with its document, or for streams the response itself. */
export type Reply<O extends Operation> = JsonReply<O["returns"]> | Response;

/** The work behind an operation, when caller and input are known to be right. */
export type Handler<O extends Operation> = (
  input: Input<O> & { actor: Actor; signal: AbortSignal },
  deps: WebDeps,
) => Promise<Reply<O>>;

/**
 * The work behind an open operation; it asks for `deps` only when it needs them. Anybody may call it as often as they like, so what
 * it does is done once for all who ask at the time.
 */
export type OpenHandler<O extends Operation> = (
  loadDeps: () => Promise<WebDeps>,
  request: Pick<Request, "headers">,
) => Promise<Reply<O>>;

export type Handlers<T extends Record<string, Operation>> = {
  [K in keyof T]: T[K]["access"] extends "open" ? OpenHandler<T[K]> : Handler<T[K]>;
};
