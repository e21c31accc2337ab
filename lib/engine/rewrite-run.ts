import { runVerdict, settle } from "#lib/domain/settle.ts";
import { isFinalRunState, isFinalTaskState, type RunState, type TaskState } from "#lib/domain/states.ts";
import {
  lockOwnerOf,
  type LockedRun,
  lockRun,
  readStates,
  readVersionGraph,
  type StateChange,
  type VersionGraph,
  writeRunState,
  writeStates,
  writeTotals,
} from "#lib/db/run-states.ts";
import { reopenBackfill } from "#lib/db/backfills.ts";
import type { Tx } from "#lib/db/pool.ts";
import { inTx } from "#lib/db/tx.ts";
import { admit } from "./admit.ts";
import { advanceBackfill } from "./backfill/advance.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import type { EngineDeps } from "./deps.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

export type RunView = { run: LockedRun; graph: VersionGraph; states: readonly TaskState[] };

/** What a run is to look like. Tasks left `waiting` are decided by their rules afterwards. */
export type Rewrite = {
  states: readonly TaskState[];
  /** Ordinals whose life begins again: counts, failures and output are forgotten. */
  restarted?: ReadonlySet<number>;
  /** The run's end when no task is left open, instead of what its tasks say. */
  end?: RunState;
};

/**
 * The one way in which anything but a finishing worker moves a run's tasks: take the run for oneself, look at all of
 * it, decide in pure code, write the difference. `decide` answers undefined to leave everything as it is.
 * Answers whether anything was written; undefined when there is no such run. `mayRevive` lets a run go on that has ended.
 */
export async function rewriteRun(
  deps: EngineDeps,
  runId: string,
  by: { actor: string; reason: string | null; mayRevive: boolean },
  decide: (view: RunView, tx: Tx) => Rewrite | undefined | Promise<Rewrite | undefined>,
): Promise<boolean | undefined> {
  let ended: LockedRun | undefined;
  let calls = false;
  const written = await inTx(deps.pool, async (tx) => {
    if (by.mayRevive) await lockOwnerOf(tx, runId);
    const run = await lockRun(tx, runId);
    if (!run) return undefined;
    const view = { run, graph: await versionGraph(deps, tx, run.versionId), states: await readStates(tx, runId) };
    const rewrite = await decide(view, tx);
    if (!rewrite) return false;
    const state = await write(tx, view, rewrite, by);
    calls = view.graph.calls;
    ended = isFinalRunState(state) ? run : undefined;
    const isRevived = isFinalRunState(run.state) && !isFinalRunState(state);
    if (isRevived && run.backfillId !== null) await reopenBackfill(tx, run.backfillId, by.actor, "RUN_CLEARED");
    return true;
  });
  if (written === true) {
    deps.notifier.announce("sluice_runs", [runId]);
    if (ended !== undefined) await startNext(deps, ended);
    await admit(deps);
    if (calls) await dispatchCallbacks(deps);
  }
  return written;
}

function startNext(deps: EngineDeps, { dagId, backfillId }: LockedRun): Promise<void> {
  return backfillId === null ? startQueuedRuns(deps, dagId) : advanceBackfill(deps, backfillId);
}

async function write(
  tx: Tx,
  { run, graph, states: before }: RunView,
  rewrite: Rewrite,
  by: { actor: string; reason: string | null },
): Promise<RunState> {
  const after = settle(graph, rewrite.states);
  const restarted = rewrite.restarted ?? new Set<number>();
  // Only a person's action changes which parents have succeeded other than by a finish, which counts by itself.
  const recounts = rewrite.restarted !== undefined;
  const changes = after.flatMap((to, ord): StateChange[] => {
    const anew = recounts && (restarted.has(ord) || to === "waiting");
    if (to === before[ord] && !anew) return [];
    return [{ ord, to, openParents: anew ? openParents(graph, after, ord) : undefined }];
  });
  if (changes.length > 0) await writeStates(tx, run.id, changes, by.actor, by.reason);
  const open = after.filter((state) => !isFinalTaskState(state)).length;
  await writeTotals(tx, run.id, {
    open,
    failedLeaves: after.filter((state, ord) => graph.isLeaf[ord]! && runVerdict([true], [state]) === "failed").length,
    settlesEach: after.some(
      (state, ord) => state === "waiting" && graph.parents[ord]!.some((p) => isUnlucky(after[p]!)),
    ),
  });
  const to =
    open > 0 ? (isFinalRunState(run.state) ? "running" : run.state) : (rewrite.end ?? runVerdict(graph.isLeaf, after));
  if (to !== run.state) await writeRunState(tx, run, to, by.actor, by.reason);
  return to;
}

const isUnlucky = (state: TaskState): boolean => isFinalTaskState(state) && state !== "success";

function openParents(graph: VersionGraph, states: readonly TaskState[], ord: number): number {
  return graph.gates[ord]! - graph.parents[ord]!.filter((parent) => states[parent] === "success").length;
}

/**
 * Versions never change, so their graphs are kept; a few, since a large one takes megabytes. Read on the connection that
 * has the run: as many first looks at once as the pool has connections would wait for one more each, and for ever.
 */
const MAX_GRAPHS = 32;
const graphs = new WeakMap<EngineDeps, Map<string, VersionGraph>>();

async function versionGraph(deps: EngineDeps, tx: Tx, versionId: string): Promise<VersionGraph> {
  const known = graphs.get(deps) ?? new Map<string, VersionGraph>();
  graphs.set(deps, known);
  const found = known.get(versionId);
  if (found) return found;
  const graph = await readVersionGraph(tx, versionId);
  if (known.size >= MAX_GRAPHS) known.delete(known.keys().next().value!);
  known.set(versionId, graph);
  return graph;
}
