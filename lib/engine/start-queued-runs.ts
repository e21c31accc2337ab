import { activateRuns, activateRunsOf, dagsWithQueuedRuns } from "#lib/db/runs.ts";
import { inTx, retried } from "#lib/db/tx.ts";
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

/** The net under it: every DAG with queued runs and room for them. What somebody else has at hand waits for the next time. */
export async function startAllQueuedRuns(deps: EngineDeps): Promise<void> {
  await isolating(
    deps,
    "runs",
    await dagsWithQueuedRuns(deps.pool),
    (dagId) => dagId,
    (dagIds) => startRunsOf(deps, dagIds),
  );
}

/** Runs of so many DAGs are started in one statement: each may have ten thousand tasks. */
const DAGS_AT_ONCE = 50;

/** As many runs of these DAGs as there is room for, without waiting for anybody. */
export async function startRunsOf(deps: EngineDeps, dagIds: readonly string[]): Promise<void> {
  const left = [...dagIds];
  while (left.length > 0) {
    const some = left.splice(0, DAGS_AT_ONCE);
    const { started, more } = await inTx(deps.pool, (tx) => activateRunsOf(tx, some));
    deps.notifier.announce("sluice_runs", started);
    if (started.length > 0) await admit(deps);
    left.push(...more);
  }
}
