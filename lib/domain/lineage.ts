import type { Graph } from "./graph.ts";

/** These tasks and all that wait for them, directly or not. */
export function downstream(graph: Pick<Graph, "children">, from: Iterable<number>): Set<number> {
  return reach(graph.children, from);
}

/** These tasks and all they wait for, directly or not. */
export function upstream(graph: Pick<Graph, "parents">, from: Iterable<number>): Set<number> {
  return reach(graph.parents, from);
}

/** Tasks that have not started and whose parents are all among `done`. */
export function readySet(graph: Pick<Graph, "parents">, done: ReadonlySet<number>): number[] {
  return graph.parents.flatMap((parents, ord) =>
    !done.has(ord) && parents.every((parent) => done.has(parent)) ? [ord] : [],
  );
}

/** Tasks that nothing connects to the others, in a DAG of several: often a forgotten `dependsOn`. */
export function orphans({ parents, children }: Graph): number[] {
  if (parents.length < 2) return [];
  return parents.flatMap((list, ord) => (list.length === 0 && children[ord]!.length === 0 ? [ord] : []));
}

/** A set grows while it is walked through: a breadth-first walk without a stack. */
function reach(next: readonly (readonly number[])[], from: Iterable<number>): Set<number> {
  const reached = new Set(from);
  for (const ord of reached) for (const other of next[ord]!) reached.add(other);
  return reached;
}
