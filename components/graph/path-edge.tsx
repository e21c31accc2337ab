import { BaseEdge, type EdgeProps } from "@xyflow/react";
import { edgePath } from "./edge-path.ts";
import type { TaskEdge } from "./overlay.ts";

/** A dependency along the way the layout found for it. */
export function PathEdge({ id, data, markerEnd }: EdgeProps<TaskEdge>) {
  const style = data?.lit ? { stroke: "var(--accent-text)", strokeWidth: 2 } : { strokeWidth: 1.25 };
  return (
    <BaseEdge id={id} path={edgePath(data?.path.points ?? [])} style={style} {...(markerEnd ? { markerEnd } : {})} />
  );
}
