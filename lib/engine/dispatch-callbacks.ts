import { hasCallbacks, takeCallbacks } from "#lib/db/callbacks.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";

/** Stands among the names of lanes on `sluice_tasks`: somebody is to be called. */
export const CALLBACKS = "*callbacks";

const BATCH = 500;

/** Moves the ends that somebody is to be told of from their list to pg-boss, which repeats what fails. */
export async function dispatchCallbacks(deps: EngineDeps): Promise<void> {
  while (await hasCallbacks(deps.pool)) {
    const moved = await inTx(deps.pool, async (tx) => {
      const calls = await takeCallbacks(tx, BATCH);
      if (calls.length > 0) await deps.queue.callbacks.enqueue(tx, calls);
      return calls.length;
    });
    deps.notifier.announce("sluice_tasks", [CALLBACKS]);
    // What is left is in the hands of somebody else who moves it.
    if (moved === 0) return;
  }
}
