import { expect, test } from "vitest";
import { edgePath } from "./edge-path.ts";
import { fromElk, type GraphTask, NODE_WIDTH, quickLayout, toElk } from "./layout.ts";

const diamond: GraphTask[] = [
  { id: "a", type: "bash", dependsOn: [] },
  { id: "b", type: "bash", dependsOn: ["a"] },
  { id: "c", type: "bash", dependsOn: ["a"] },
  { id: "d", type: "fn", dependsOn: ["b", "c"] },
];

test("the quick layout puts every task to the right of all its parents, and no two on one spot", () => {
  const { positions, edges } = quickLayout(diamond);
  for (const { source, target } of edges) {
    expect(positions.get(target)!.x).toBeGreaterThanOrEqual(positions.get(source)!.x + NODE_WIDTH);
  }
  expect(new Set([...positions.values()].map(({ x, y }) => `${x},${y}`)).size).toBe(diamond.length);
});

test("a circle, which no import lets pass, does not hang the layout", () => {
  const circle = [
    { id: "a", type: "bash", dependsOn: ["b"] },
    { id: "b", type: "bash", dependsOn: ["a"] },
  ];
  expect(quickLayout(circle).positions.size).toBe(2);
});

test("ELK is asked for every task and dependency, and its bends come back in order", () => {
  const asked = toElk(diamond);
  expect(asked.children?.map(({ id }) => id)).toEqual(["a", "b", "c", "d"]);
  expect(asked.edges).toHaveLength(4);
  const layout = fromElk({
    id: "root",
    children: [{ id: "a", x: 1, y: 2 }],
    edges: [
      {
        id: "a>b",
        sources: ["a"],
        targets: ["b"],
        sections: [
          {
            id: "s",
            startPoint: { x: 0, y: 0 },
            bendPoints: [
              { x: 5, y: 0 },
              { x: 5, y: 9 },
            ],
            endPoint: { x: 9, y: 9 },
          },
        ],
      },
    ],
  });
  expect(layout.positions.get("a")).toEqual({ x: 1, y: 2 });
  expect(layout.edges[0]!.points.map(({ x }) => x)).toEqual([0, 5, 5, 9]);
});

test("a path starts and ends at its ends, and rounding never overshoots a short leg", () => {
  const path = edgePath([
    { x: 0, y: 0 },
    { x: 10, y: 0 },
    { x: 10, y: 4 },
    { x: 20, y: 4 },
  ]);
  expect(path).toMatch(/^M 0 0 L 5 0 Q 10 0 10 2 L 10 2 Q .* L 20 4$/);
  expect(edgePath([])).toBe("");
});
