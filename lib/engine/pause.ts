import { AppError } from "#lib/domain/errors.ts";
import { markDagPaused, markRunPaused } from "#lib/db/pauses.ts";
import { findActionGround } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { effects } from "./effects.ts";
import { followUp } from "./follow-up.ts";
import { carryOutCommitted } from "./run-actions.ts";

/**
 * Pauses and resumes. Once one of these has returned it is committed: nothing is admitted any more, or what was held will be. Of
 * large runs the tasks may still be marked by slices then, which any scheduler carries out.
 */

/** Nothing of the DAG is admitted until it is resumed; what runs goes on to its end. Throws `dag_not_found`. */
export async function pauseDag(deps: EngineDeps, dagId: string, actor: string): Promise<void> {
  await setDagPaused(deps, dagId, actor);
  // Where one run may go on at a time, its queued runs do not go before those of its backfills any more.
  await followUp(deps, effects({ dagsWithRoom: [dagId] }));
}

/**
 * Goes on with the DAG. Runs that its schedules had due meanwhile are left out, and recorded as such; with `catchesUp` the
 * DAG's catch-up policy decides about them. Throws `dag_not_found`.
 */
export async function unpauseDag(
  deps: EngineDeps,
  dagId: string,
  { catchesUp = false }: { catchesUp?: boolean } = {},
): Promise<void> {
  await setDagPaused(deps, dagId, null, catchesUp);
  await followUp(deps, effects({ dagsWithRoom: [dagId], wantsAdmission: true }));
}

async function setDagPaused(deps: EngineDeps, dagId: string, actor: string | null, catchesUp?: boolean): Promise<void> {
  const asked = await inTx(deps.pool, (tx) => markDagPaused(tx, dagId, actor, catchesUp));
  if (asked === undefined) throw new AppError("dag_not_found", `There is no DAG "${dagId}".`);
  deps.notifier.announce("sluice_schedules", [dagId]);
  await carryOutCommitted(deps, { dagId }, asked);
}

/** The same for one run; false when it has ended. Throws `run_not_found`. */
export async function pauseRun(deps: EngineDeps, runId: string, actor: string): Promise<boolean> {
  const paused = await setRunPaused(deps, runId, actor);
  const run = await findActionGround(deps.pool, runId);
  // As for a DAG.
  if (run !== undefined) await followUp(deps, effects({ dagsWithRoom: [run.dagId] }));
  return paused;
}

export async function resumeRun(deps: EngineDeps, runId: string): Promise<boolean> {
  const resumed = await setRunPaused(deps, runId, null);
  const run = await findActionGround(deps.pool, runId);
  const backfills = run?.backfillId ? [run.backfillId] : [];
  const dagsWithRoom = run === undefined ? [] : [run.dagId];
  await followUp(deps, effects({ dagsWithRoom, backfills, wantsAdmission: true }));
  return resumed;
}

async function setRunPaused(deps: EngineDeps, runId: string, actor: string | null): Promise<boolean> {
  const asked = await inTx(deps.pool, (tx) => markRunPaused(tx, runId, actor));
  if (asked === undefined) throw new AppError("run_not_found", `There is no run ${runId}.`);
  await followUp(deps, effects({ changedRuns: [runId] }));
  await carryOutCommitted(deps, { runId }, asked || []);
  return asked !== false;
}
