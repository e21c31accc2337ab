import { activateRuns, dagsWithQueuedRuns, lockStartable } from "#lib/db/runs.ts";
import { inTx } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import type { EngineDeps } from "./deps.ts";

/** Starts what the DAG's limit of active runs leaves room for. Called when a run has ended or the DAG goes on. */
export async function startQueuedRuns(deps: EngineDeps, dagId: string): Promise<void> {
  const started = await inTx(deps.pool, async (tx) =>
    (await lockStartable(tx, dagId)) === undefined ? [] : activateRuns(tx, dagId),
  );
  if (started.length === 0) return;
  deps.notifier.announce("sluice_runs", started);
  await admit(deps);
}

/** The net under it: every DAG with queued runs and room for them. */
export async function startAllQueuedRuns(deps: EngineDeps): Promise<void> {
  for (const dagId of await dagsWithQueuedRuns(deps.pool)) await startQueuedRuns(deps, dagId);
}
