import { activateRuns, activateRunsOf } from "#lib/db/runs.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { admitStarted } from "./admit-started.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, effects, mergeEffects } from "./effects.ts";

/** Runs of so many DAGs are started in one statement: each may have ten thousand tasks. */
const DAGS_AT_ONCE = 50;

/**
 * Starts what these DAGs' limits of active runs leave room for: one batch of runs each; a DAG that may
 * have room for more is among the effects. Waits for processes that hold a DAG.
 */
export async function startQueuedRuns(deps: EngineDeps, dagIds: readonly string[]): Promise<Effects> {
  const [first, ...others] = dagIds;
  if (first === undefined) return effects({});
  if (others.length === 0) return startRunsOfDag(deps, first);
  const { made, busy } = await startInSets(deps, dagIds);
  const waited: Effects[] = [];
  for (const dagId of busy) waited.push(await startRunsOfDag(deps, dagId));
  return mergeEffects([made, ...waited]);
}

/** Calls for one DAG at the same time share a pass. */
function startRunsOfDag(deps: EngineDeps, dagId: string): Promise<Effects> {
  return deps.coalesce(`runs of ${dagId}`, async () => {
    const { started, more, nextBackfill } = await retried(() => activateRuns(deps.pool, dagId));
    const made = startedEffects(started, more ? [dagId] : [], nextBackfill === null ? [] : [nextBackfill]);
    return { ...made, wantsAdmission: await admitStarted(deps, started) };
  });
}

function startedEffects(
  started: readonly string[],
  dagsWithRoom: readonly string[],
  backfills: readonly string[],
): Effects {
  return effects({ changedRuns: started, dagsWithRoom, backfills, wantsAdmission: started.length > 0 });
}

/** The same without waiting: a DAG that another process holds is left to the schedulers' loop. */
export async function startQueuedRunsWithoutWaiting(deps: EngineDeps, dagIds: readonly string[]): Promise<Effects> {
  return (await startInSets(deps, dagIds)).made;
}

async function startInSets(deps: EngineDeps, dagIds: readonly string[]): Promise<{ made: Effects; busy: string[] }> {
  const made: Effects[] = [];
  const busy: string[] = [];
  for (let at = 0; at < dagIds.length; at += DAGS_AT_ONCE) {
    const some = dagIds.slice(at, at + DAGS_AT_ONCE);
    const activated = await inTx(deps.pool, (tx) => activateRunsOf(tx, some));
    made.push(startedEffects(activated.started, activated.more, activated.backfills));
    busy.push(...activated.busy);
  }
  return { made: mergeEffects(made), busy };
}
