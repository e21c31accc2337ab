import type { TaskState } from "./states.ts";
import { isFinalTaskState } from "./states.ts";
import { countParents } from "./trigger-rules.ts";
import { type RuledGraph, runVerdict, settle } from "./settle.ts";

/**
 * What a slice of a rewrite writes. A rewrite gives tasks of a run other states and decides what waits for them; a large one is
 * written in slices, each in a transaction of its own. Every slice starts from what is in the database, so another process can
 * write the next one.
 */

/** How parents of a waiting task ended other than well. */
export type ParentEnds = { failed: number; upstreamFailed: number; skipped: number };

/** A task of a run as a slice finds it. */
export type RunTask = {
  state: TaskState;
  /** Of a waiting task: the parents that have not succeeded, and one more where counting successes does not decide. */
  openParents: number;
  /** Of a waiting task whose rule counts them; null when no parent ended other than well. */
  ends: ParentEnds | null;
};

export type RewriteGraph = RuledGraph & { readonly gates: readonly number[]; readonly isLeaf: readonly boolean[] };

/** A task that gets another state. `isAnew`: its life begins again, so that its counts, failures and output are forgotten. */
export type StateChange = { ord: number; to: TaskState; isAnew: boolean; openParents: number };

/** A waiting task whose counts are not those of its parents any more. */
export type CountChange = { ord: number; openParents: number; ends: ParentEnds };

/** What the tasks of a run add up to. */
export type RunTotals = {
  open: number;
  failedLeaves: number;
};

export type Slice = {
  changes: readonly StateChange[];
  counts: readonly CountChange[];
  /** The tasks' states after it. */
  after: readonly TaskState[];
  totals: RunTotals;
  /** Nothing is left for another slice. */
  isLast: boolean;
};

/** `targets`: tasks that get a state whatever their rules say; a `waiting` one begins anew and is then decided by its rule. */
export type Target = { ord: number; to: TaskState };

/** Only the targets' states, and nothing of what follows from them. */
export function targetsSlice(graph: RewriteGraph, tasks: readonly RunTask[], targets: readonly Target[]): Slice {
  const after = tasks.map(({ state }) => state);
  for (const { ord, to } of targets) after[ord] = to;
  const changes = targets
    .filter(({ ord, to }) => to === "waiting" || tasks[ord]!.state !== to)
    .map(({ ord, to }) => ({ ord, to, isAnew: to === "waiting", openParents: openParentsOf(graph, after, ord) }));
  return { changes, counts: [], after, totals: totalsOf(graph, after), isLast: false };
}

/**
 * The targets' states and all that follows from them, at most `most` rows. States come before counts, and parents before
 * children, so that what a slice leaves out is decided by the next one as this one would have done. `undecided`: tasks that
 * were ready too early, and are decided anew without having begun.
 */
export function settlingSlice(
  graph: RewriteGraph,
  tasks: readonly RunTask[],
  { targets, undecided, most }: { targets: readonly Target[]; undecided: readonly number[]; most: number },
): Slice {
  const wanted = tasks.map(({ state }) => state);
  for (const ord of undecided) wanted[ord] = "waiting";
  for (const { ord, to } of targets) wanted[ord] = to;
  const settled = settle(graph, wanted);
  const anew = new Set(targets.filter(({ to }) => to === "waiting").map(({ ord }) => ord));
  const first = targets.map(({ ord }) => ord);
  const named = new Set(first);
  const differing = [...first, ...graph.order.filter((ord) => !named.has(ord))].filter(
    (ord) => anew.has(ord) || settled[ord] !== tasks[ord]!.state,
  );
  const written = differing.slice(0, most);
  const after = tasks.map(({ state }) => state);
  for (const ord of written) after[ord] = settled[ord]!;
  const changes = written.map((ord) => {
    return { ord, to: settled[ord]!, isAnew: anew.has(ord), openParents: openParentsOf(graph, settled, ord) };
  });
  const isDecided = written.length === differing.length;
  const counts = isDecided ? countChanges(graph, tasks, settled, new Set(written)) : [];
  const room = most - written.length;
  return {
    changes,
    counts: counts.slice(0, room),
    after,
    totals: totalsOf(graph, after),
    isLast: isDecided && counts.length <= room,
  };
}

const NO_ENDS: ParentEnds = { failed: 0, upstreamFailed: 0, skipped: 0 };

function countChanges(
  graph: RewriteGraph,
  tasks: readonly RunTask[],
  settled: readonly TaskState[],
  written: ReadonlySet<number>,
): CountChange[] {
  return settled.flatMap((state, ord): CountChange[] => {
    if (state !== "waiting") return [];
    const { success, ...counted } = countParents(graph.parents[ord]!.map((parent) => settled[parent]!));
    const openParents = graph.gates[ord]! - success;
    // Under all_success the first such end decides, so that nothing is counted.
    const ends = graph.rules[ord] === "all_success" ? NO_ENDS : counted;
    const task = tasks[ord]!;
    // What gets another state is written with its open parents, and without ends.
    const now = written.has(ord) ? NO_ENDS : (task.ends ?? NO_ENDS);
    const isSame =
      (written.has(ord) || task.openParents === openParents) &&
      now.failed === ends.failed &&
      now.upstreamFailed === ends.upstreamFailed &&
      now.skipped === ends.skipped;
    return isSame ? [] : [{ ord, openParents, ends }];
  });
}

function openParentsOf(graph: RewriteGraph, states: readonly TaskState[], ord: number): number {
  return graph.gates[ord]! - graph.parents[ord]!.filter((parent) => states[parent] === "success").length;
}

/** Expects the states of all tasks of a run. */
function totalsOf(graph: RewriteGraph, states: readonly TaskState[]): RunTotals {
  return {
    open: states.filter((state) => !isFinalTaskState(state)).length,
    failedLeaves: states.filter((state, ord) => graph.isLeaf[ord]! && runVerdict([true], [state]) === "failed").length,
  };
}
