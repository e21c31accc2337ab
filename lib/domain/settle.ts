import type { Graph } from "./graph.ts";
import type { TaskState } from "./states.ts";

/**
 * Which waiting tasks can never start, because a parent failed: they end `upstream_failed`, through any depth.
 * Expects one state per task of the graph; answers the ordinals whose state changes, in topological reach.
 */
export function settle(graph: Graph, states: readonly TaskState[]): number[] {
  const blocked = (state: TaskState | undefined): boolean =>
    state === "failed" || state === "upstream_failed" || state === "cancelled";
  const frontier = states.flatMap((state, ord) => (blocked(state) ? [ord] : []));
  const settled = new Set<number>();
  for (let at = 0; at < frontier.length; at++) {
    for (const child of graph.children[frontier[at]!]!) {
      if (states[child] === "waiting" && !settled.has(child)) {
        settled.add(child);
        frontier.push(child);
      }
    }
  }
  return [...settled];
}
