import { buildGraph } from "#lib/domain/graph.ts";
import { settle } from "#lib/domain/settle.ts";
import { endUpstreamFailed, lockUnsettledRun, readVersionTasks } from "#lib/db/settling.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";

/** Gives the tasks behind a failed one their end, through any depth, and closes the run when that was all. */
export async function settleRun(deps: EngineDeps, runId: string): Promise<void> {
  await inTx(deps.pool, async (tx) => {
    const run = await lockUnsettledRun(tx, runId);
    if (!run) return;
    const graph = buildGraph(await readVersionTasks(tx, run.versionId));
    await endUpstreamFailed(tx, runId, settle(graph, run.states), "settle");
  });
  deps.notifier.announce("sluice_runs", [runId]);
}
