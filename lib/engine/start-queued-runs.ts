import { activateRuns, dagsWithQueuedRuns } from "#lib/db/runs.ts";
import { retried } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import { coalescing } from "./coalesce.ts";
import type { EngineDeps } from "./deps.ts";
import { isolating } from "./quarantine.ts";

/**
 * Starts what the DAG's limit of active runs leaves room for. Called when a run was queued or has ended, and when the
 * DAG goes on; calls for one DAG at the same time share a pass.
 */
export const startQueuedRuns = coalescing(async (deps: EngineDeps, dagId: string): Promise<void> => {
  for (let more = true; more;) {
    const activated = await retried(() => activateRuns(deps.pool, dagId));
    more = activated.more;
    if (activated.started.length === 0) return;
    deps.notifier.announce("sluice_runs", activated.started);
    await admit(deps);
  }
});

/** The net under it: every DAG with queued runs and room for them. */
export async function startAllQueuedRuns(deps: EngineDeps): Promise<void> {
  const dagIds = await dagsWithQueuedRuns(deps.pool);
  await isolating(
    deps,
    "runs",
    dagIds,
    (dagId) => dagId,
    async (some) => {
      for (const dagId of some) await startQueuedRuns(deps, dagId);
    },
  );
}
