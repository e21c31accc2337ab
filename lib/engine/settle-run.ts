import { settlingSlice } from "#lib/domain/rewrite.ts";
import { isUnsettled, lockRun } from "#lib/db/run-states.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, NO_EFFECTS } from "./effects.ts";
import { effectsOfSlice, readView, SLICE_ROWS, writeSlice } from "./rewrite-run.ts";

/**
 * Decides the tasks that wait for one that ended other than well, through any depth, and the run's end with them; at most `most`
 * of them in one transaction. A run that has more is among the effects again. Without `waits`, a run that another transaction
 * has locked is left as it is.
 */
export function settleRun(
  deps: EngineDeps,
  runId: string,
  { most = SLICE_ROWS, waits = true }: { most?: number; waits?: boolean } = {},
): Promise<Effects> {
  return inTx(deps.pool, async (tx) => {
    const run = await lockRun(tx, runId, waits);
    if (run?.state !== "running" || !(await isUnsettled(tx, runId))) return NO_EFFECTS;
    const view = await readView(deps, tx, run);
    const slice = settlingSlice(view.graph, view.tasks, { targets: [], undecided: [], most });
    const state = await writeSlice(tx, view, slice, { by: { actor: "settle", reason: null }, isAction: false });
    return { ...effectsOfSlice(view, state), unsettledRuns: slice.isLast ? [] : [runId] };
  });
}
