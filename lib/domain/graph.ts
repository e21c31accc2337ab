import { nearestName } from "./nearest.ts";

/** The shape of a DAG: which tasks it has and which wait for which. All in O(V+E), none of it recursive. */

export type GraphTask = { readonly id: string; readonly dependsOn: readonly string[] };

/** A place in the definition (path of keys and indexes) and what is wrong there. */
export type Problem = {
  readonly path: readonly (string | number)[];
  readonly message: string;
  /** What stands there must not be repeated: it may be a password. */
  readonly hidesLine?: boolean;
};

export type Graph = {
  /** Tasks by ordinal, in definition order. */
  readonly ids: readonly string[];
  readonly parents: readonly (readonly number[])[];
  readonly children: readonly (readonly number[])[];
};

/** Duplicate ids, unknown and doubled dependencies, and cycles; all of them, not the first only. */
export function graphProblems(tasks: readonly GraphTask[]): Problem[] {
  const problems: Problem[] = [];
  const firstIndex = new Map<string, number>();
  tasks.forEach((task, index) => {
    if (firstIndex.has(task.id)) {
      problems.push({ path: ["tasks", index, "id"], message: `task id "${task.id}" is used twice` });
    } else {
      firstIndex.set(task.id, index);
    }
  });
  tasks.forEach((task, index) => {
    const seen = new Set<string>();
    task.dependsOn.forEach((parent, at) => {
      const path = ["tasks", index, "dependsOn", at];
      if (!firstIndex.has(parent)) {
        problems.push({
          path,
          message: `task "${task.id}" depends on "${parent}", ${unknownTask(parent, firstIndex, problems.length < MAX_HINTS)}`,
        });
      } else if (seen.has(parent)) {
        problems.push({ path, message: `task "${task.id}" names "${parent}" twice` });
      }
      seen.add(parent);
    });
  });
  if (problems.length > 0) return problems;
  const graph = buildGraph(tasks);
  const order = topologicalOrder(graph);
  if (order.length === graph.ids.length) return [];
  const cycle = findCycle(graph, new Set(order));
  return [
    {
      path: ["tasks", cycle[0]!],
      message: `tasks wait for each other in a circle: ${[...cycle, cycle[0]!].map((ord) => graph.ids[ord]).join(" → ")}`,
    },
  ];
}

/** Comparing with every name is quadratic over a file full of mistakes; beyond this many the hint is left out. */
const MAX_NAMES_COMPARED = 1_000;

/** As many mistakes of a file are told; what is beyond is not worth a hint. */
export const MAX_HINTS = 100;

function unknownTask(id: string, known: ReadonlyMap<string, number>, hasHint: boolean): string {
  const compares = hasHint && known.size <= MAX_NAMES_COMPARED;
  const near = compares ? nearestName(id, [...known.keys()]) : undefined;
  return `which is not a task of this DAG${near === undefined ? "" : `; did you mean "${near}"?`}`;
}

/** Expects tasks without `graphProblems`; an unknown parent is a bug and throws. */
export function buildGraph(tasks: readonly GraphTask[]): Graph {
  const ordOf = new Map(tasks.map((task, ord) => [task.id, ord]));
  const children: number[][] = tasks.map(() => []);
  const parents = tasks.map((task, ord) =>
    task.dependsOn.map((id) => {
      const parent = ordOf.get(id);
      if (parent === undefined) throw new Error(`unknown parent "${id}" of "${task.id}"`);
      children[parent]!.push(ord);
      return parent;
    }),
  );
  return { ids: tasks.map((task) => task.id), parents, children };
}

/** Kahn's order; shorter than the graph when there is a cycle (the rest is on one or behind one). */
export function topologicalOrder(graph: Graph): number[] {
  const open = graph.parents.map((list) => list.length);
  const order = open.flatMap((count, ord) => (count === 0 ? [ord] : []));
  for (let at = 0; at < order.length; at++) {
    for (const child of graph.children[order[at]!]!) {
      open[child]!--;
      if (open[child] === 0) order.push(child);
    }
  }
  return order;
}

/** One cycle among the tasks that are not in `ordered`: walk to any unordered parent until a task comes again. */
function findCycle(graph: Graph, ordered: ReadonlySet<number>): number[] {
  let at = graph.ids.findIndex((_, ord) => !ordered.has(ord));
  const position = new Map<number, number>();
  const walk: number[] = [];
  while (!position.has(at)) {
    position.set(at, walk.length);
    walk.push(at);
    at = graph.parents[at]!.find((parent) => !ordered.has(parent))!;
  }
  return walk.slice(position.get(at)).toReversed();
}
