import { z } from "zod";
import { CallbackRequest } from "./task-types.ts";

/** What is called when something ended. A request: it needs no worker slot, and cannot fail the run. */
const Callback = z.strictObject({ http: CallbackRequest });
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

/** What may have ended, and under which name its callbacks stand. */
export const CALLBACK_KEYS = { success: "onSuccess", failed: "onFailure", retry: "onRetry" } as const;
export type CallbackEvent = keyof typeof CALLBACK_KEYS;

type AnyCallbacks = { [K in (typeof CALLBACK_KEYS)[CallbackEvent]]?: z.output<typeof Callbacks> };

/** The calls to make at an end. */
export function callsOn(callbacks: AnyCallbacks, event: CallbackEvent): z.output<typeof Callbacks> {
  return callbacks[CALLBACK_KEYS[event]] ?? [];
}

/** The ends at which anybody is called. */
export function calledEvents(callbacks: AnyCallbacks): CallbackEvent[] {
  return (["success", "failed", "retry"] as const).filter((event) => callsOn(callbacks, event).length > 0);
}
