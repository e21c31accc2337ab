import { runVerdict, settle } from "#lib/domain/settle.ts";
import { countParents } from "#lib/domain/trigger-rules.ts";
import { isFinalRunState, isFinalTaskState, type RunState, type TaskState } from "#lib/domain/states.ts";
import {
  lockBackfillOf,
  type LockedRun,
  lockRun,
  type ParentEnds,
  readStates,
  readVersionGraph,
  type StateChange,
  type VersionGraph,
  writeParentEnds,
  writeRunState,
  writeStates,
  writeTotals,
} from "#lib/db/run-states.ts";
import { reopenBackfill } from "#lib/db/backfills.ts";
import type { Tx } from "#lib/db/pool.ts";
import { inTx } from "#lib/db/tx.ts";
import type { EngineDeps } from "./deps.ts";
import { type Effects, effects } from "./effects.ts";

export type RunView = { run: LockedRun; graph: VersionGraph; states: readonly TaskState[] };

/** What a run is to look like. Tasks left `waiting` are decided by their rules afterwards. */
export type Rewrite = {
  states: readonly TaskState[];
  /** Ordinals whose life begins again: counts, failures and output are forgotten. */
  restarted?: ReadonlySet<number>;
  /** The run's end when no task is left open, instead of what its tasks say. */
  end?: RunState;
};

/** `missing`: there is no such run. `unchanged`: `decide` left it as it is. */
export type Rewritten = { outcome: "missing" | "unchanged" | "written"; effects?: Effects };

/**
 * The one way in which anything but a finishing worker moves a run's tasks: lock the run, read all of
 * it, decide in pure code, write the difference. `decide` returns undefined to leave everything as it is.
 * `mayRevive` lets a run that has ended become active again.
 */
export async function rewriteRun(
  deps: EngineDeps,
  runId: string,
  by: { actor: string; reason: string | null; mayRevive: boolean },
  decide: (view: RunView, tx: Tx) => Rewrite | undefined | Promise<Rewrite | undefined>,
): Promise<Rewritten> {
  return inTx(deps.pool, async (tx): Promise<Rewritten> => {
    if (by.mayRevive) await lockBackfillOf(tx, runId);
    const run = await lockRun(tx, runId);
    if (!run) return { outcome: "missing" };
    const view = { run, graph: await versionGraph(deps, tx, run.versionId), states: await readStates(tx, runId) };
    const rewrite = await decide(view, tx);
    if (!rewrite) return { outcome: "unchanged" };
    const state = await write(tx, view, rewrite, by);
    const isRevived = isFinalRunState(run.state) && !isFinalRunState(state);
    if (isRevived && run.backfillId !== null) await reopenBackfill(tx, run.backfillId, by.actor, "RUN_CLEARED");
    return { outcome: "written", effects: effectsOf(view, state) };
  });
}

function effectsOf({ run, graph }: RunView, state: RunState): Effects {
  // Its place falls free, or it waits for one.
  const asksForStart = isFinalRunState(state) || isFinalRunState(run.state);
  return effects({
    changedRuns: [run.id],
    dagsWithRoom: asksForStart && run.backfillId === null ? [run.dagId] : [],
    backfills: asksForStart && run.backfillId !== null ? [run.backfillId] : [],
    wantsAdmission: true,
    hasCallbacks: graph.calls,
  });
}

async function write(
  tx: Tx,
  { run, graph, states: before }: RunView,
  rewrite: Rewrite,
  by: { actor: string; reason: string | null },
): Promise<RunState> {
  const after = settle(graph, rewrite.states);
  const open = after.filter((state) => !isFinalTaskState(state)).length;
  // One that has ended goes on only through its DAG's or its backfill's limit, as every other: it is queued, and its tasks are held.
  const to =
    open > 0 ? (isFinalRunState(run.state) ? "queued" : run.state) : (rewrite.end ?? runVerdict(graph.isLeaf, after));
  // First, because it says whether the tasks are held.
  if (to !== run.state) await writeRunState(tx, run, to, by.actor, by.reason);
  const restarted = rewrite.restarted ?? new Set<number>();
  // Only a person's action changes which parents have succeeded other than by a finish, which counts by itself.
  const recounts = rewrite.restarted !== undefined;
  const changes = after.flatMap((to, ord): StateChange[] => {
    const anew = recounts && (restarted.has(ord) || to === "waiting");
    if (to === before[ord] && !anew) return [];
    return [{ ord, to, openParents: anew ? openParents(graph, after, ord) : undefined }];
  });
  if (changes.length > 0) await writeStates(tx, run.id, changes, by.actor, by.reason);
  await writeTotals(tx, run.id, {
    open,
    failedLeaves: after.filter((state, ord) => graph.isLeaf[ord]! && runVerdict([true], [state]) === "failed").length,
  });
  if (graph.rules.some((rule) => rule !== "all_success")) await writeParentEnds(tx, run.id, parentEnds(graph, after));
  return to;
}

/** Of waiting tasks whose rule counts them: the parents that ended other than well. */
function parentEnds({ parents, rules }: VersionGraph, states: readonly TaskState[]): ParentEnds[] {
  return states.flatMap((state, ord): ParentEnds[] => {
    if (state !== "waiting" || rules[ord] === "all_success") return [];
    const { failed, upstreamFailed, skipped } = countParents(parents[ord]!.map((parent) => states[parent]!));
    return failed + upstreamFailed + skipped === 0 ? [] : [{ ord, failed, upstreamFailed, skipped }];
  });
}

function openParents(graph: VersionGraph, states: readonly TaskState[], ord: number): number {
  return graph.gates[ord]! - graph.parents[ord]!.filter((parent) => states[parent] === "success").length;
}

/**
 * Read on the connection that has the run: a pool whose connections are all in first reads would wait
 * for one more each, and for ever.
 */
async function versionGraph({ caches }: EngineDeps, tx: Tx, versionId: string): Promise<VersionGraph> {
  const found = caches.graphs.get(versionId);
  if (found) return found;
  const graph = await readVersionGraph(tx, versionId);
  caches.graphs.set(versionId, graph);
  return graph;
}
