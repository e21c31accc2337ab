import { z } from "zod";
import { HttpConfig } from "./task-types.ts";

/** What is called when something ended. A request: it needs no worker slot, and cannot fail the run. */
const Callback = z.strictObject({ http: HttpConfig });
const Callbacks = z.array(Callback).max(8).default([]);

export const DagCallbacks = z.strictObject({
  onSuccess: Callbacks.describe("The run succeeded."),
  onFailure: Callbacks.describe("The run failed."),
});

export const TaskCallbacks = z.strictObject({
  onSuccess: Callbacks.describe("The task succeeded."),
  onFailure: Callbacks.describe("The task failed and will not be retried."),
  onRetry: Callbacks.describe("An attempt failed and another will be made."),
});
