import { isFinalRunState, type RunState } from "../states.ts";
import type { Slice } from "./slices.ts";

/** Which logical dates get a run: those without one; those whose latest run failed or was cancelled, too; all of them. */
export const REPROCESSES = ["missing", "failed", "all"] as const;
export type Reprocess = (typeof REPROCESSES)[number];

/** By logical date. */
export const ORDERS = ["asc", "desc"] as const;
export type Order = (typeof ORDERS)[number];

/** The latest run of a schedule that was due then, whatever made it. */
export type LatestRun = { scheduleId: string; due: Date; runId: string; state: RunState };

/** `create`: there is none yet. `rerun`: another one. `keep`: the one there is stands. `open`: it is on its way already. */
export type Action = "create" | "rerun" | "keep" | "open";

export type PlannedSlice = Slice & { latest: LatestRun | undefined; action: Action };

export function sliceKey({ scheduleId, logicalDate }: Pick<Slice, "scheduleId" | "logicalDate">): string {
  return `${scheduleId} ${logicalDate.toISOString()}`;
}

/** What becomes of each slice, in the order in which runs would start. */
export function planOf(
  slices: readonly Slice[],
  latest: readonly LatestRun[],
  { reprocess, order }: { reprocess: Reprocess; order: Order },
): PlannedSlice[] {
  const dueKey = (scheduleId: string, due: Date): string => `${scheduleId} ${due.toISOString()}`;
  const byDue = new Map(latest.map((run) => [dueKey(run.scheduleId, run.due), run]));
  const planned = slices.map((slice) => {
    const run = byDue.get(dueKey(slice.scheduleId, slice.interval.end));
    return { ...slice, latest: run, action: actionOf(run?.state, reprocess) };
  });
  return order === "asc" ? planned : planned.toReversed();
}

function actionOf(state: RunState | undefined, reprocess: Reprocess): Action {
  if (state === undefined) return "create";
  if (!isFinalRunState(state)) return "open";
  if (reprocess === "all") return "rerun";
  return reprocess === "failed" && state !== "success" ? "rerun" : "keep";
}

/** What gets a run. */
export function toMake(plan: readonly PlannedSlice[]): PlannedSlice[] {
  return plan.filter(({ action }) => action === "create" || action === "rerun");
}

export type PlanCounts = Record<Action, number> & {
  /** Of the latest runs that there are, by state. */
  existing: Partial<Record<RunState, number>>;
};

export function countPlan(plan: readonly PlannedSlice[]): PlanCounts {
  const counts: PlanCounts = { create: 0, rerun: 0, keep: 0, open: 0, existing: {} };
  for (const { action, latest } of plan) {
    counts[action] += 1;
    if (latest !== undefined) counts.existing[latest.state] = (counts.existing[latest.state] ?? 0) + 1;
  }
  return counts;
}
