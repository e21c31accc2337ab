import { takeCallbacks, waitingCallbacks } from "#lib/db/callbacks.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { isolating } from "./quarantine.ts";

/** Stands among the names of lanes on `sluice_tasks`: somebody is to be called. */
export const CALLBACKS = "*callbacks";

const BATCH = 500;

/**
 * Moves the ends that somebody is to be told of from their list to pg-boss, which repeats what
 * fails: each end that is in the list, once. An end without a call is only deleted, and one that
 * another process is moving is left to it; neither keeps this from those behind it.
 */
export async function dispatchCallbacks(deps: EngineDeps): Promise<void> {
  let after = "0";
  for (;;) {
    const ids = await waitingCallbacks(deps.pool, after, BATCH);
    let calls = 0;
    const move = async (some: readonly string[]): Promise<void> => {
      calls += await inTx(deps.pool, async (tx) => {
        const taken = await takeCallbacks(tx, some);
        if (taken.length > 0) await deps.queue.callbacks.enqueue(tx, taken);
        return taken.length;
      });
    };
    await isolating(deps, "callbacks", ids, (id) => id, move);
    if (calls > 0) deps.notifier.announce("sluice_tasks", [CALLBACKS]);
    if (ids.length < BATCH) return;
    after = ids.at(-1)!;
  }
}
