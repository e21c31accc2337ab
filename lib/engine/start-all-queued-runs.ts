import { dagsWithQueuedRuns } from "#lib/db/runs.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, mergeEffects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { isolating } from "./quarantine.ts";
import { startQueuedRunsWithoutWaiting } from "./start-queued-runs.ts";

/** Starts the queued runs of every DAG that has room for them: the net under what other processes start. */
export async function startAllQueuedRuns(deps: EngineDeps): Promise<void> {
  const made: Effects[] = [];
  try {
    await isolating(
      deps,
      "runs",
      await dagsWithQueuedRuns(deps.pool),
      (dagId) => dagId,
      async (dagIds) => void made.push(await startQueuedRunsWithoutWaiting(deps, dagIds)),
    );
  } finally {
    await followUp(deps, mergeEffects(made));
  }
}
