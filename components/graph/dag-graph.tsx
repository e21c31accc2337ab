"use client";

import {
  Background,
  Controls,
  type EdgeTypes,
  MarkerType,
  type NodeTypes,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from "@xyflow/react";
import { useEffect, useMemo } from "react";
import type { DagDetail } from "#lib/contract/dags.ts";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import type { GraphTask } from "./layout.ts";
import { overlayEdges, overlayNodes } from "./overlay.ts";
import { PathEdge } from "./path-edge.tsx";
import { TaskNode } from "./task-node.tsx";
import { useLayout } from "./use-layout.ts";

const NODE_TYPES: NodeTypes = { task: TaskNode };
const EDGE_TYPES: EdgeTypes = { path: PathEdge };
const EDGE_DEFAULTS = {
  markerEnd: {
    type: MarkerType.ArrowClosed,
    width: 16,
    height: 16,
    markerUnits: "userSpaceOnUse",
    color: "var(--line-strong)",
  },
  focusable: false,
};
const FIT = { padding: 0.12, maxZoom: 1 };
/** From here on only what is in sight is drawn. */
const MANY_TASKS = 150;

type Props = {
  tasks: readonly GraphTask[];
  types: DagDetail["types"];
  instances?: ReadonlyMap<string, TaskInstance>;
  selected?: string | undefined;
  serverNow: string;
  onSelect?: (taskId: string) => void;
};

const NO_INSTANCES: ReadonlyMap<string, TaskInstance> = new Map();

/** The DAG from left to right; with `instances` it shows how a run stands. */
export function DagGraph(props: Props) {
  return (
    <ReactFlowProvider>
      <Flow {...props} />
    </ReactFlowProvider>
  );
}

function Flow({ tasks, types, instances = NO_INSTANCES, selected, serverNow, onSelect }: Props) {
  const { layout, settled } = useLayout(tasks);
  const { fitView } = useReactFlow();
  const nodes = useMemo(
    () => overlayNodes(tasks, layout, { types, instances, selected, serverNow }),
    [tasks, types, layout, instances, selected, serverNow],
  );
  const edges = useMemo(() => overlayEdges(layout, { instances, selected }), [layout, instances, selected]);
  useEffect(() => {
    if (settled) void fitView(FIT);
  }, [settled, fitView]);
  return (
    <ReactFlow
      aria-label="Task graph"
      nodes={nodes}
      edges={edges}
      nodeTypes={NODE_TYPES}
      edgeTypes={EDGE_TYPES}
      defaultEdgeOptions={EDGE_DEFAULTS}
      colorMode="system"
      fitView
      fitViewOptions={FIT}
      minZoom={0.05}
      maxZoom={1.75}
      nodesDraggable={false}
      nodesConnectable={false}
      nodesFocusable={false}
      edgesFocusable={false}
      elementsSelectable={false}
      deleteKeyCode={null}
      zoomOnScroll={false}
      preventScrolling={false}
      zoomOnDoubleClick={false}
      onlyRenderVisibleElements={tasks.length > MANY_TASKS}
      onNodeClick={(_, node) => onSelect?.(node.id)}
    >
      <Background gap={18} size={1} />
      <Controls showInteractive={false} fitViewOptions={FIT} />
    </ReactFlow>
  );
}
