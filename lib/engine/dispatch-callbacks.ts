import { takeCallbacks, waitingCallbacks } from "#lib/db/callbacks.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { isolating } from "./quarantine.ts";

/** Stands among the names of lanes on `sluice_tasks`: somebody is to be called. */
export const CALLBACKS = "*callbacks";

const BATCH = 500;

/** Moves the ends that somebody is to be told of from their list to pg-boss, which repeats what fails. */
export async function dispatchCallbacks(deps: EngineDeps): Promise<void> {
  for (;;) {
    const ids = await waitingCallbacks(deps.pool, BATCH);
    let moved = 0;
    const move = async (some: readonly string[]): Promise<void> => {
      moved += await inTx(deps.pool, async (tx) => {
        const calls = await takeCallbacks(tx, some);
        if (calls.length > 0) await deps.queue.callbacks.enqueue(tx, calls);
        return calls.length;
      });
    };
    await isolating(deps, "callbacks", ids, (id) => id, move);
    if (moved > 0) deps.notifier.announce("sluice_tasks", [CALLBACKS]);
    // What is left is in quarantine, or in the hands of somebody else who moves it.
    else return;
  }
}
