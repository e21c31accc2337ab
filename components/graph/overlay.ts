import type { Edge, Node } from "@xyflow/react";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import type { TypeLook } from "#lib/domain/model/type-facts.ts";
import { type EdgePath, type GraphTask, type Layout, NODE_HEIGHT, NODE_WIDTH } from "./layout.ts";

export type TaskNodeData = {
  task: GraphTask;
  /** What its type looks like; absent for a type that nobody described. */
  look: TypeLook | undefined;
  instance: TaskInstance | undefined;
  selected: boolean;
  faded: boolean;
  serverNow: string;
};
export type TaskNode = Node<TaskNodeData, "task">;
export type TaskEdge = Edge<{ path: EdgePath; lit: boolean }, "path">;

type Live = { instances: ReadonlyMap<string, TaskInstance>; selected: string | undefined };
type Shown = Live & { types: Readonly<Record<string, TypeLook>>; serverNow: string };

/** The tasks where the layout put them, as they are right now. */
export function overlayNodes(tasks: readonly GraphTask[], layout: Layout, live: Shown): TaskNode[] {
  const related = live.selected === undefined ? undefined : relatives(tasks, live.selected);
  return tasks.map((task) => ({
    id: task.id,
    type: "task",
    position: layout.positions.get(task.id) ?? { x: 0, y: 0 },
    width: NODE_WIDTH,
    height: NODE_HEIGHT,
    data: {
      task,
      look: live.types[task.type],
      instance: live.instances.get(task.id),
      selected: task.id === live.selected,
      faded: related !== undefined && !related.has(task.id),
      serverNow: live.serverNow,
    },
  }));
}

/** The dependencies; one into a running task moves, those of the selected task are lit. */
export function overlayEdges(layout: Layout, live: Live): TaskEdge[] {
  return layout.edges.map((path) => ({
    id: path.id,
    type: "path",
    source: path.source,
    target: path.target,
    animated: live.instances.get(path.target)?.state === "running",
    data: { path, lit: path.source === live.selected || path.target === live.selected },
  }));
}

/** The task with everything before and behind it. */
export function relatives(tasks: readonly GraphTask[], taskId: string): ReadonlySet<string> {
  const parents = new Map(tasks.map((task) => [task.id, task.dependsOn]));
  const children = new Map<string, string[]>();
  for (const task of tasks)
    for (const parent of task.dependsOn) children.set(parent, [...(children.get(parent) ?? []), task.id]);
  return new Set([...reach(taskId, parents), ...reach(taskId, children)]);
}

function reach(from: string, next: ReadonlyMap<string, readonly string[]>): Set<string> {
  const seen = new Set([from]);
  // A set hands out what is added while it is walked.
  for (const id of seen) for (const neighbour of next.get(id) ?? []) seen.add(neighbour);
  return seen;
}
