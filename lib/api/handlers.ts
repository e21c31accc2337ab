import type { Operations } from "#lib/contract/index.ts";
import { dagRunHandlers } from "./dag-runs.ts";
import { dagHandlers } from "./dags.ts";
import type { Handlers } from "./handler.ts";
import { systemHandlers } from "./system.ts";
import { taskInstanceHandlers } from "./task-instances.ts";
import { workerHandlers } from "./workers.ts";

/** A handler for every operation; one that is missing does not compile. */
export const handlers: Handlers<Operations> = {
  ...dagHandlers,
  ...dagRunHandlers,
  ...taskInstanceHandlers,
  ...workerHandlers,
  ...systemHandlers,
};
