import fc from "fast-check";
import { expect, test } from "vitest";
import { buildGraph, topologicalOrder } from "./graph.ts";
import { TRIGGER_RULES } from "./model/task.ts";
import { type RewriteGraph, type RunTask, settlingSlice, type Slice, type Target } from "./rewrite.ts";
import { settle } from "./settle.ts";
import type { TaskState } from "./states.ts";
import { isDecidedBySuccesses } from "./trigger-rules.ts";

const graphs = fc
  .array(fc.record({ parents: fc.array(fc.nat(1_000), { maxLength: 3 }), rule: fc.constantFrom(...TRIGGER_RULES) }), {
    minLength: 2,
    maxLength: 12,
  })
  .map((rolls): RewriteGraph => {
    const graph = buildGraph(
      rolls.map(({ parents }, ord) => ({
        id: `t${ord}`,
        dependsOn: ord === 0 ? [] : [...new Set(parents.map((roll) => `t${roll % ord}`))],
      })),
    );
    const rules = rolls.map(({ rule }) => rule);
    return {
      ...graph,
      order: topologicalOrder(graph),
      rules,
      gates: graph.parents.map((parents, ord) => parents.length + (isDecidedBySuccesses(rules[ord]!) ? 0 : 1)),
      isLeaf: graph.children.map((children) => children.length === 0),
    };
  });

/** What a slice leaves in the tables. */
function written(tasks: readonly RunTask[], { changes, counts }: Slice): RunTask[] {
  const after = [...tasks];
  for (const { ord, to, isAnew, openParents } of changes) {
    const task = after[ord]!;
    const counted = isAnew || to === "waiting" ? openParents : task.openParents;
    after[ord] = { state: to, openParents: counted, ends: null };
  }
  for (const { ord, openParents, ends } of counts) {
    const { failed, upstreamFailed, skipped } = ends;
    after[ord] = { ...after[ord]!, openParents, ends: { failed, upstreamFailed, skipped } };
  }
  return after;
}

function inSlices(graph: RewriteGraph, tasks: readonly RunTask[], targets: readonly Target[], most: number): RunTask[] {
  let now = [...tasks];
  for (let given = targets; ; given = []) {
    const slice = settlingSlice(graph, now, { targets: given, undecided: [], most });
    expect(slice.changes.length + slice.counts.length).toBeLessThanOrEqual(most);
    now = written(now, slice);
    if (slice.isLast) return now;
  }
}

test("slices of any size come to what one of all would, and leave counts as their parents are", () => {
  const ends = fc.constantFrom<TaskState>("success", "failed", "skipped", "cancelled", "waiting");
  fc.assert(
    fc.property(graphs, fc.array(ends), fc.nat(), fc.integer({ min: 1, max: 4 }), (graph, rolls, cleared, most) => {
      const count = graph.parents.length;
      const start = settle(
        graph,
        graph.parents.map((parents, ord): TaskState => (parents.length === 0 ? (rolls[ord] ?? "waiting") : "waiting")),
      );
      const tasks = start.map((state, ord): RunTask => {
        const done = graph.parents[ord]!.filter((parent) => start[parent] === "success").length;
        return { state, openParents: graph.gates[ord]! - done, ends: null };
      });
      const targets: Target[] = [{ ord: cleared % count, to: "waiting" }];
      const whole = inSlices(graph, tasks, targets, 1_000);
      const parts = inSlices(graph, tasks, targets, most);
      expect(parts.map(({ state }) => state)).toEqual(whole.map(({ state }) => state));
      const waiting = (all: readonly RunTask[]): RunTask[] => all.filter(({ state }) => state === "waiting");
      expect(waiting(parts)).toEqual(waiting(whole));
    }),
  );
});
