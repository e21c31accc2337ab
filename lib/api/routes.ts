import { type OperationName, operations } from "#lib/contract/index.ts";
import type { Operation } from "#lib/contract/op.ts";
import { handle, handleNothing, handleOpen, type RouteHandler } from "./handle.ts";
import type { Handler, OpenHandler } from "./handler.ts";
import { handlers } from "./handlers.ts";
import { problem } from "./problem.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;
type Route = Record<(typeof METHODS)[number], RouteHandler>;

/** What a route file exports: the path's operations, and 405 for every other method. */
export function routes(path: string): Route {
  const here = (Object.keys(operations) as OperationName[]).filter((name) => operations[name].path === path);
  const allow = here.map((name) => operations[name].method).join(", ");
  const wrongMethod = handleNothing((requestId) =>
    problem("not_found", `This path takes ${allow}.`, requestId, { status: 405, headers: { allow } }),
  );
  const entries = METHODS.map((method) => {
    const name = here.find((candidate) => operations[candidate].method === method);
    return [method, name === undefined ? wrongMethod : routeOf(name)] as const;
  });
  return Object.fromEntries(entries) as Route;
}

/** What answers everywhere else below the API's base. */
export function unknownRoutes(): Route {
  const nothing = handleNothing((requestId) => problem("not_found", "The API has no such path.", requestId));
  return Object.fromEntries(METHODS.map((method) => [method, nothing])) as Route;
}

/** `Handlers` pairs each operation with its own handler; over a name that is any of them, types lose the pair. */
function routeOf(name: OperationName): RouteHandler {
  const operation: Operation = operations[name];
  if (operation.access === "open") return handleOpen(handlers[name] as unknown as OpenHandler<Operation>);
  return handle(operation, handlers[name] as unknown as Handler<Operation>);
}
