import { expect, test } from "vitest";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import { type GraphTask, quickLayout } from "./layout.ts";
import { overlayEdges, overlayNodes, relatives } from "./overlay.ts";

const tasks: GraphTask[] = [
  { id: "a", type: "bash", dependsOn: [] },
  { id: "b", type: "bash", dependsOn: ["a"] },
  { id: "c", type: "bash", dependsOn: ["b"] },
  { id: "x", type: "bash", dependsOn: [] },
];
const running: TaskInstance = {
  id: "1048577",
  runId: "1",
  taskId: "b",
  type: "bash",
  queue: "default",
  state: "running",
  attempt: 1,
  lostAttempts: 0,
  workerId: "w1",
  readyAt: null,
  notBefore: null,
  waitsFor: null,
  startedAt: "2026-11-23T12:00:00.000Z",
  endedAt: null,
};
const types = { bash: { displayName: "Bash", icon: "terminal" } };
const live = { instances: new Map([["b", running]]), selected: "b", serverNow: "2026-11-23T12:00:01.000Z", types };

test("relatives are all that is before and behind, through any depth", () => {
  expect([...relatives(tasks, "b")].toSorted()).toEqual(["a", "b", "c"]);
});

test("the overlay marks the selected task, fades strangers, and hands instances through as they are", () => {
  const nodes = new Map(overlayNodes(tasks, quickLayout(tasks), live).map((node) => [node.id, node.data]));
  expect(nodes.get("b")).toMatchObject({ selected: true, faded: false });
  expect(nodes.get("b")!.instance).toBe(running);
  expect(nodes.get("b")!.look).toBe(types.bash);
  expect(nodes.get("x")).toMatchObject({ selected: false, faded: true, instance: undefined });
});

test("the overlay changes none of its inputs and gives the same for the same", () => {
  const layout = quickLayout(tasks);
  const before = structuredClone({ tasks, positions: [...layout.positions], edges: layout.edges });
  expect(overlayNodes(tasks, layout, live)).toEqual(overlayNodes(tasks, layout, live));
  expect(overlayEdges(layout, live)).toEqual(overlayEdges(layout, live));
  expect({ tasks, positions: [...layout.positions], edges: layout.edges }).toEqual(before);
});

test("only the way into a running task moves", () => {
  const moving = overlayEdges(quickLayout(tasks), live).filter((edge) => edge.animated);
  expect(moving.map(({ id }) => id)).toEqual(["a>b"]);
});
