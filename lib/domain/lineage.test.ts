import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { criticalPath } from "./critical-path.ts";
import { buildGraph, type Graph } from "./graph.ts";
import { downstream, orphans, readySet, upstream } from "./lineage.ts";

/** Random DAGs: each task depends on some of those before it. */
const graphs = fc
  .array(fc.array(fc.nat(1_000), { maxLength: 4 }), { minLength: 1, maxLength: 14 })
  .map((rolls): Graph =>
    buildGraph(
      rolls.map((list, ord) => ({
        id: `t${ord}`,
        dependsOn: ord === 0 ? [] : [...new Set(list.map((roll) => `t${roll % ord}`))],
      })),
    ),
  );

function chain(length: number): Graph {
  return buildGraph(Array.from({ length }, (_, n) => ({ id: `t${n}`, dependsOn: n === 0 ? [] : [`t${n - 1}`] })));
}

/** By trying every path: right, and only for small graphs. */
function longest(graph: Graph, durations: readonly number[], ord: number): number {
  return durations[ord]! + Math.max(0, ...graph.children[ord]!.map((child) => longest(graph, durations, child)));
}

describe("lineage", () => {
  test("what is upstream of a task has it downstream", () => {
    fc.assert(
      fc.property(graphs, fc.nat(), (graph, roll) => {
        const ord = roll % graph.ids.length;
        for (const other of upstream(graph, [ord])) expect(downstream(graph, [other]).has(ord)).toBe(true);
        for (const other of downstream(graph, [ord])) expect(upstream(graph, [other]).has(ord)).toBe(true);
      }),
    );
  });

  test("doing what is ready, again and again, does everything once and nothing too early", () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const done = new Set<number>();
        for (let ready = readySet(graph, done); ready.length > 0; ready = readySet(graph, done)) {
          for (const ord of ready) expect(graph.parents[ord]!.every((parent) => done.has(parent))).toBe(true);
          for (const ord of ready) done.add(ord);
        }
        expect(done.size).toBe(graph.ids.length);
      }),
    );
  });

  test("an orphan is connected to nothing, and a DAG of one task has none", () => {
    const graph = buildGraph([
      { id: "a", dependsOn: [] },
      { id: "b", dependsOn: ["a"] },
      { id: "alone", dependsOn: [] },
    ]);
    expect(orphans(graph)).toEqual([2]);
    expect(orphans(chain(1))).toEqual([]);
  });
});

describe("the critical path", () => {
  test("is as long as the longest chain, and its tasks have no slack", () => {
    fc.assert(
      fc.property(graphs, fc.array(fc.nat(20), { minLength: 14, maxLength: 14 }), (graph, rolls) => {
        const durations = graph.ids.map((_, ord) => rolls[ord]!);
        const { path, length, earliest, latest, slack } = criticalPath(graph, durations);
        expect(length).toBe(Math.max(...graph.ids.map((_, ord) => longest(graph, durations, ord))));
        expect(path.reduce((sum, ord) => sum + durations[ord]!, 0)).toBe(length);
        path.forEach((ord, index) => {
          expect(slack[ord]).toBe(0);
          if (index > 0) expect(graph.parents[ord]).toContain(path[index - 1]);
        });
        graph.ids.forEach((_, ord) => {
          expect(slack[ord]).toBeGreaterThanOrEqual(0);
          for (const child of graph.children[ord]!) {
            expect(earliest[child]).toBeGreaterThanOrEqual(earliest[ord]! + durations[ord]!);
            expect(latest[child]).toBeGreaterThanOrEqual(latest[ord]! + durations[ord]!);
          }
        });
      }),
    );
  });

  test("a chain and a fan of a hundred thousand neither overflow the stack nor take long", () => {
    const before = process.cpuUsage();
    const long = chain(100_000);
    expect(
      criticalPath(
        long,
        long.ids.map(() => 1),
      ).length,
    ).toBe(100_000);
    expect(downstream(long, [0]).size).toBe(100_000);
    const fan = buildGraph([
      { id: "first", dependsOn: [] },
      ...Array.from({ length: 100_000 }, (_, n) => ({ id: `t${n}`, dependsOn: ["first"] })),
    ]);
    expect(
      criticalPath(
        fan,
        fan.ids.map(() => 1),
      ).path,
    ).toHaveLength(2);
    expect(readySet(fan, new Set([0]))).toHaveLength(100_000);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
  });
});
