import { type Graph, topologicalOrder } from "./graph.ts";

/** How long a run must take when nothing waits for a slot. Times are in the unit of the durations given. */
export type CriticalPath = {
  /** Ordinals of one longest chain, in order. */
  path: number[];
  length: number;
  /** When each task can start at the earliest, and must start at the latest for the run not to take longer. */
  earliest: number[];
  latest: number[];
  /** How much later a task may start without making the run longer; 0 on the critical path. */
  slack: number[];
};

/** Expects one duration, not negative, for each task of a graph without cycles. O(V+E). */
export function criticalPath(graph: Graph, durations: readonly number[]): CriticalPath {
  const order = topologicalOrder(graph);
  const earliest = durations.map(() => 0);
  const before = durations.map((): number | undefined => undefined);
  for (const ord of order) {
    const end = earliest[ord]! + durations[ord]!;
    for (const child of graph.children[ord]!) {
      if (before[child] !== undefined && end <= earliest[child]!) continue;
      earliest[child] = end;
      before[child] = ord;
    }
  }
  const length = order.reduce((longest, ord) => Math.max(longest, earliest[ord]! + durations[ord]!), 0);
  const latest = durations.map((duration) => length - duration);
  for (const ord of order.toReversed()) {
    for (const child of graph.children[ord]!) latest[ord] = Math.min(latest[ord]!, latest[child]! - durations[ord]!);
  }
  const path: number[] = [];
  const last = order.find((ord) => earliest[ord]! + durations[ord]! === length);
  for (let at = last; at !== undefined; at = before[at]) path.push(at);
  return { path: path.reverse(), length, earliest, latest, slack: latest.map((time, ord) => time - earliest[ord]!) };
}
