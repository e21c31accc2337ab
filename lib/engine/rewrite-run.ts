import type { Slice } from "#lib/domain/rewrite.ts";
import { runVerdict } from "#lib/domain/settle.ts";
import { isFinalRunState, type RunState } from "#lib/domain/states.ts";
import {
  type LockedRun,
  type MovedBy,
  type ReadTask,
  readTasks,
  readVersionGraph,
  type VersionGraph,
  writeCounts,
  writeRunState,
  writeStates,
  writeTotals,
} from "#lib/db/run-states.ts";
import type { Db, Tx } from "#lib/db/pool.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, effects } from "./effects.ts";

/**
 * The one way in which anything but a finishing worker moves a run's tasks: lock the run, read all of it, decide a slice in
 * pure code, write it.
 */

/** About so many rows are written while a run is locked: a third of a second, in which ends of its tasks wait. */
export const SLICE_ROWS = 5_000;

export type RunView = { run: LockedRun; graph: VersionGraph; tasks: readonly ReadTask[] };

/** A locked run as a slice is decided from. */
export async function readView(deps: EngineDeps, tx: Tx, run: LockedRun): Promise<RunView> {
  return { run, graph: await versionGraph(deps, tx, run.versionId), tasks: await readTasks(tx, run.id) };
}

/** `isAction`: the slice is one of a person's action. `end`: the run's end, instead of what its tasks say. */
export type WriteSlice = { by: MovedBy; isAction: boolean; end?: RunState | undefined };

/** Writes a slice of a locked run; returns the run's state after it. */
export async function writeSlice(
  tx: Tx,
  { run, graph }: RunView,
  slice: Slice,
  { by, isAction, end }: WriteSlice,
): Promise<RunState> {
  const to = stateAfter(run, graph, slice, end);
  // First, because it says whether the tasks are held.
  if (to !== run.state) await writeRunState(tx, run, to, by.actor, by.reason);
  if (slice.changes.length > 0) await writeStates(tx, run.id, slice.changes, by);
  if (slice.counts.length > 0) await writeCounts(tx, run.id, slice.counts);
  const unsettled = !slice.isLast;
  await writeTotals(tx, run.id, { ...slice.totals, unsettled, isActing: isAction && unsettled });
  return to;
}

/**
 * A run that has ended goes on only through its DAG's or its backfill's limit, as every other: it is queued, and its tasks are
 * held until it starts. No slice but the last changes a run's state: a run whose tasks come to the end that it has does not
 * end again, so that nobody is called twice, its time stays, and its backfill is not reopened.
 */
function stateAfter(run: LockedRun, graph: VersionGraph, slice: Slice, end: RunState | undefined): RunState {
  if (!slice.isLast) return run.state;
  if (slice.totals.open === 0) return end ?? runVerdict(graph.isLeaf, slice.after);
  return isFinalRunState(run.state) ? "queued" : run.state;
}

/** What a slice has made possible, which has brought the run into this state. */
export function effectsOfSlice({ run, graph }: RunView, state: RunState): Effects {
  return { ...effectsOfRun(run, state), hasCallbacks: graph.calls };
}

/**
 * What may begin now that a run is in this state, and nothing of it is kept from it by an action. Where its DAG allows one run at a
 * time, its backfill names the next one (`advanceBackfill`), and its DAG names the backfill that has its place (`startQueuedRuns`).
 */
export function effectsOfRun(run: Pick<LockedRun, "id" | "dagId" | "backfillId">, state: RunState): Effects {
  // Its place falls free, or it waits for one.
  const asksForStart = state !== "running";
  return effects({
    changedRuns: [run.id],
    dagsWithRoom: asksForStart && run.backfillId === null ? [run.dagId] : [],
    backfills: asksForStart && run.backfillId !== null ? [run.backfillId] : [],
    wantsAdmission: true,
  });
}

/**
 * Read on the connection that has the run, if one has: a pool whose connections are all in first reads would wait
 * for one more each, and for ever.
 */
export async function versionGraph({ caches }: EngineDeps, db: Db, versionId: string): Promise<VersionGraph> {
  const found = caches.graphs.get(versionId);
  if (found) return found;
  const graph = await readVersionGraph(db, versionId);
  caches.graphs.set(versionId, graph);
  return graph;
}
