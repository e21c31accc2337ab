import type { TriggerRule } from "./model/task.ts";
import type { TaskState } from "./states.ts";
import { countParents, decide } from "./trigger-rules.ts";

/** The tasks of one version by ordinal, as the rules need them. */
export type RuledGraph = {
  readonly parents: readonly (readonly number[])[];
  readonly rules: readonly TriggerRule[];
  /** Every ordinal once, parents before children. */
  readonly order: readonly number[];
};

/**
 * The states after every waiting task has been given what its rule says, through any depth: the one place where
 * skips and failures travel. Expects one state per task; answers a new array. O(V+E).
 */
export function settle(graph: RuledGraph, states: readonly TaskState[]): TaskState[] {
  const settled = [...states];
  for (const ord of graph.order) {
    if (settled[ord] !== "waiting") continue;
    const parents = graph.parents[ord]!.map((parent) => settled[parent]!);
    settled[ord] = decide(graph.rules[ord]!, countParents(parents));
  }
  return settled;
}

/** A run failed when a task that nothing depends on did not end well. Expects final states only. */
export function runVerdict(isLeaf: readonly boolean[], states: readonly TaskState[]): "success" | "failed" {
  const bad = (state: TaskState): boolean => state === "failed" || state === "upstream_failed" || state === "cancelled";
  return states.some((state, ord) => isLeaf[ord]! && bad(state)) ? "failed" : "success";
}
