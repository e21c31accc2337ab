import type { Point } from "./layout.ts";

const RADIUS = 8;

/** An SVG path through the points, its corners rounded. */
export function edgePath(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  const corners = rest.slice(0, -1).map((corner, index) => rounded(points[index]!, corner, rest[index + 1]!));
  const last = rest.at(-1);
  return [`M ${first.x} ${first.y}`, ...corners, ...(last === undefined ? [] : [`L ${last.x} ${last.y}`])].join(" ");
}

function rounded(before: Point, corner: Point, after: Point): string {
  const enter = towards(corner, before);
  const leave = towards(corner, after);
  return `L ${enter.x} ${enter.y} Q ${corner.x} ${corner.y} ${leave.x} ${leave.y}`;
}

/** The point on the way from `from` to `to` where the rounding starts. */
function towards(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  if (length === 0) return from;
  const step = Math.min(RADIUS, length / 2) / length;
  return { x: from.x + (to.x - from.x) * step, y: from.y + (to.y - from.y) * step };
}
