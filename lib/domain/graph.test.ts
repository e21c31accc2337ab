import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildGraph, graphProblems, topologicalOrder } from "./graph.ts";

/** A random acyclic graph: every task depends on some of those before it, then all are shuffled. */
const dags = fc
  .array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: 1, maxLength: 40 })
  .map((picks) =>
    picks.map((pick, at) => ({
      id: `t${at}`,
      dependsOn: at === 0 ? [] : [...new Set(pick.map((n) => `t${n % at}`))],
    })),
  )
  .chain((tasks) => fc.shuffledSubarray(tasks, { minLength: tasks.length }));

describe("graph", () => {
  test("an acyclic graph has no problem, and its order puts every parent before its children", () => {
    fc.assert(
      fc.property(dags, (tasks) => {
        expect(graphProblems(tasks)).toEqual([]);
        const graph = buildGraph(tasks);
        const position = new Map(topologicalOrder(graph).map((ord, at) => [ord, at]));
        expect(position.size).toBe(tasks.length);
        graph.parents.forEach((parents, ord) =>
          parents.forEach((parent) => expect(position.get(parent)!).toBeLessThan(position.get(ord)!)),
        );
      }),
    );
  });

  test("closing a path to a circle is found, and the circle named is one", () => {
    fc.assert(
      fc.property(dags, fc.nat(), (tasks, pick) => {
        const edges = tasks.flatMap((task) => task.dependsOn.map((parent) => ({ parent, child: task.id })));
        fc.pre(edges.length > 0);
        const { parent, child } = edges[pick % edges.length]!;
        const closed = tasks.map((task) =>
          task.id === parent ? { ...task, dependsOn: [...task.dependsOn, child] } : task,
        );
        const [problem] = graphProblems(closed);
        const named = problem!.message.split(": ")[1]!.split(" → ");
        expect(named.at(0)).toBe(named.at(-1));
        const dependsOn = new Map(closed.map((task) => [task.id, task.dependsOn]));
        named.slice(1).forEach((id, at) => expect(dependsOn.get(id)).toContain(named[at]));
      }),
    );
  });

  test("doubled ids, unknown and doubled parents are all told at once", () => {
    const problems = graphProblems([
      { id: "a", dependsOn: ["ghost"] },
      { id: "a", dependsOn: [] },
      { id: "b", dependsOn: ["a", "a"] },
    ]);
    expect(problems.map((problem) => problem.path)).toEqual([
      ["tasks", 1, "id"],
      ["tasks", 0, "dependsOn", 0],
      ["tasks", 2, "dependsOn", 1],
    ]);
  });

  test("a chain of 100,000 tasks neither overflows the stack nor takes long", () => {
    const tasks = Array.from({ length: 100_000 }, (_, n) => ({ id: `t${n}`, dependsOn: n === 0 ? [] : [`t${n - 1}`] }));
    expect(graphProblems(tasks)).toEqual([]);
    expect(topologicalOrder(buildGraph(tasks))).toHaveLength(100_000);
  });
});
