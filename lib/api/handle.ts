import { randomUUID } from "node:crypto";
import { type Actor, authenticate } from "#lib/auth/authenticate.ts";
import { ownAddresses } from "#lib/auth/own-addresses.ts";
import { sessionActor } from "#lib/auth/session.ts";
import { type WebDeps, webDeps } from "#lib/boot.ts";
import type { Operation } from "#lib/contract/op.ts";
import { AppError } from "#lib/domain/errors.ts";
import { readJsonBody } from "./body.ts";
import type { Handler, OpenHandler, Reply } from "./handler.ts";
import { type Input, parseBody, parseHeaders, parseParams, parseQuery } from "./input.ts";
import { problem, problemOf } from "./problem.ts";

export type RouteContext = { params: Promise<Record<string, string | string[] | undefined>> };
export type RouteHandler = (request: Request, context: RouteContext) => Promise<Response>;

/** The one door of the API: who calls, may they, is the request right, do it, answer. */
export function handle<O extends Operation>(operation: O, handler: Handler<O>): RouteHandler {
  return (request, context) =>
    answering(async () => {
      const deps = await webDeps();
      const actor = await authenticated(request, deps);
      requireAccess(operation, actor);
      const params = parseParams(operation, await context.params);
      const query = parseQuery(operation, new URL(request.url).search);
      const headers = parseHeaders(operation, request.headers);
      const body = operation.body === undefined ? undefined : parseBody(operation, await readJsonBody(request));
      // Each part came out of the schema that `Input` names for it.
      const input = { params, query, headers, body } as Input<O>;
      return handler({ ...input, actor, signal: request.signal }, deps);
    });
}

/** The door for operations without a caller; they answer even when nothing behind them does. */
export function handleOpen<O extends Operation>(handler: OpenHandler<O>): RouteHandler {
  return (request) => answering(() => handler(webDeps, request));
}

/** Answers every caller who may be told more than "sign in" that there is nothing here. */
export function handleNothing(respond: (requestId: string) => Response): RouteHandler {
  return (request) =>
    answering(async (requestId) => {
      await authenticated(request, await webDeps());
      return respond(requestId);
    });
}

function authenticated(request: Request, deps: WebDeps): Promise<Actor> {
  return authenticate(request, {
    apiTokenHash: deps.apiTokenHash,
    addresses: ownAddresses([deps.settings.url, ...deps.settings.otherUrls]),
    sessionUser: () => sessionActor(deps),
  });
}

function requireAccess(operation: Operation, actor: Actor): void {
  if (operation.access === "operator" && actor.role === "viewer") {
    throw new AppError("forbidden", "Your role may look, but not change anything.");
  }
}

async function answering<O extends Operation>(work: (requestId: string) => Promise<Reply<O>>): Promise<Response> {
  const requestId = randomUUID();
  try {
    const reply = await work(requestId);
    if (reply instanceof Response) {
      reply.headers.set("x-request-id", requestId);
      return reply;
    }
    return Response.json(reply.body, {
      status: Number(reply.status),
      headers: { "cache-control": "no-store", "x-request-id": requestId },
    });
  } catch (error) {
    if (error instanceof AppError) return problemOf(error, requestId);
    await logUnexpected(error, requestId);
    return problem("internal", "Something went wrong on our side; the log has it under this request id.", requestId);
  }
}

/** Without `deps` there is no log either; then their own failure was logged where it happened. */
async function logUnexpected(error: unknown, requestId: string): Promise<void> {
  const deps = await webDeps().catch(() => undefined);
  deps?.log.error({ err: error, requestId }, "API request failed");
}
