import type { ElkExtendedEdge, ElkNode } from "elkjs/lib/elk-api.js";

export type GraphTask = { id: string; type: string; dependsOn: readonly string[] };
export type Point = { x: number; y: number };
export type EdgePath = { id: string; source: string; target: string; points: readonly Point[] };
export type Layout = { positions: ReadonlyMap<string, Point>; edges: readonly EdgePath[] };

export const NODE_WIDTH = 216;
export const NODE_HEIGHT = 64;
const GAP_X = 56;
const GAP_Y = 20;

/** What ELK is asked: layers from left to right, edges at right angles. */
export function toElk(tasks: readonly GraphTask[]): ElkNode {
  return {
    id: "root",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "RIGHT",
      "elk.edgeRouting": "ORTHOGONAL",
      "elk.spacing.nodeNode": String(GAP_Y),
      "elk.layered.spacing.nodeNodeBetweenLayers": String(GAP_X),
      "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
      "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
    },
    children: tasks.map(({ id }) => ({ id, width: NODE_WIDTH, height: NODE_HEIGHT })),
    edges: edgesOf(tasks).map(({ id, source, target }) => ({ id, sources: [source], targets: [target] })),
  };
}

/** What ELK answered. */
export function fromElk(root: ElkNode): Layout {
  const positions = new Map((root.children ?? []).map((node) => [node.id, { x: node.x ?? 0, y: node.y ?? 0 }]));
  return { positions, edges: (root.edges ?? []).map(pathOf) };
}

/** A plain layout at once, shown until ELK has answered: each task one layer behind its last parent. */
export function quickLayout(tasks: readonly GraphTask[]): Layout {
  const layerOf = layers(tasks);
  const filled = new Map<number, number>();
  const positions = new Map<string, Point>();
  for (const { id } of tasks) {
    const layer = layerOf.get(id) ?? 0;
    const row = filled.get(layer) ?? 0;
    filled.set(layer, row + 1);
    positions.set(id, { x: layer * (NODE_WIDTH + GAP_X), y: row * (NODE_HEIGHT + GAP_Y) });
  }
  const edges = edgesOf(tasks).map((edge) => ({ ...edge, points: straight(positions, edge.source, edge.target) }));
  return { positions, edges };
}

function layers(tasks: readonly GraphTask[]): Map<string, number> {
  const layerOf = new Map<string, number>();
  let open = [...tasks];
  while (open.length > 0) {
    const placed = open.filter((task) => task.dependsOn.every((parent) => layerOf.has(parent)));
    // A graph that was checked at its import has no circle; a broken one must still not hang the page.
    if (placed.length === 0) break;
    for (const { id, dependsOn } of placed)
      layerOf.set(id, Math.max(-1, ...dependsOn.map((parent) => layerOf.get(parent)!)) + 1);
    open = open.filter(({ id }) => !layerOf.has(id));
  }
  return layerOf;
}

function edgesOf(tasks: readonly GraphTask[]): { id: string; source: string; target: string }[] {
  return tasks.flatMap(({ id, dependsOn }) =>
    dependsOn.map((parent) => ({ id: `${parent}>${id}`, source: parent, target: id })),
  );
}

function pathOf(edge: ElkExtendedEdge): EdgePath {
  const points = (edge.sections ?? []).flatMap(({ startPoint, bendPoints, endPoint }) => [
    startPoint,
    ...(bendPoints ?? []),
    endPoint,
  ]);
  return { id: edge.id, source: edge.sources[0] ?? "", target: edge.targets[0] ?? "", points };
}

function straight(positions: ReadonlyMap<string, Point>, source: string, target: string): Point[] {
  const from = positions.get(source);
  const to = positions.get(target);
  if (from === undefined || to === undefined) return [];
  const start = { x: from.x + NODE_WIDTH, y: from.y + NODE_HEIGHT / 2 };
  const end = { x: to.x, y: to.y + NODE_HEIGHT / 2 };
  const middle = end.x - GAP_X / 2;
  return [start, { x: middle, y: start.y }, { x: middle, y: end.y }, end];
}
