import { expect } from "vitest";
import { type BackfillState, isFinalBackfillState, isFinalRunState, type RunState } from "#lib/domain/states.ts";
import { cancels, isHeld, type Model, type ModelBackfill, type ModelDag, type ModelRun } from "./engine-model.ts";

/** What the engine is to do about backfills, said without its code: a part of the model of the model-based test. */

export const isOpen = (run: ModelRun): boolean => !isFinalRunState(run.state);

export function runsOfBackfill(model: Model, backfill: ModelBackfill): ModelRun[] {
  return model.runs.filter((run) => run.slice?.backfill === backfill);
}

/** Nothing but a limit keeps it from starting. */
export function isStartable(model: Model, run: ModelRun): boolean {
  const { state, isPaused, isAsked, slice, dag } = run;
  if (state !== "queued" || isPaused || isAsked) return false;
  return slice ? slice.backfill.state === "running" : !model.pausedDags.has(dag.spec.id);
}

/** How many runs of a DAG its limit counts: those of backfills only where it is one. */
export function goingOf(model: Model, dag: ModelDag): number {
  const isAlone = model.limits.get(dag.spec.id)!.maxActiveRuns === 1;
  return model.runs.filter((run) => run.dag === dag && run.state === "running" && (isAlone || !run.slice)).length;
}

/** Runs that the engine has started, all in one step: that they may, within their limits and in their order. */
export function mayHaveStarted(model: Model, started: readonly ModelRun[]): void {
  for (const run of started) {
    const { slice, dag } = run;
    const { maxActiveRuns } = model.limits.get(dag.spec.id)!;
    expect([run.isAsked, isHeld(model, run)]).toEqual([false, false]);
    if (!slice || maxActiveRuns === 1) expect(goingOf(model, dag)).toBeLessThanOrEqual(maxActiveRuns);
    if (!slice) continue;
    const { backfill, day } = slice;
    expect(backfill.state).toBe("running");
    const left = model.runs.filter((one) => one.dag === dag && isStartable(model, one));
    const isBefore = (one: string): boolean => (backfill.order === "asc" ? one < day : one > day);
    expect(left.filter((one) => one.slice?.backfill === backfill && isBefore(one.slice.day))).toEqual([]);
    // The DAG's own run has the one place first.
    if (maxActiveRuns === 1) expect(left.filter((one) => !one.slice)).toEqual([]);
  }
}

/** Takes over which backfills have ended: whoever ends the last run does it, or a scheduler, later. */
export function mayHaveEnded(model: Model, real: readonly { id: string; state: BackfillState }[]): void {
  for (const { id, state } of real) {
    const backfill = model.backfills.find((one) => one.id === id)!;
    if (!isFinalBackfillState(state) || isFinalBackfillState(backfill.state)) continue;
    expect(runsOfBackfill(model, backfill).filter(isOpen)).toEqual([]);
    expect(state).toBe(backfill.state === "cancelling" ? "cancelled" : verdict(model, backfill));
    backfill.state = state;
  }
}

/** By the latest run of each date. */
function verdict(model: Model, backfill: ModelBackfill): BackfillState {
  const latest = new Map(runsOfBackfill(model, backfill).map((run) => [run.slice!.day, run.state]));
  const ends = new Set(latest.values());
  return ends.has("failed") ? "failed" : ends.has("cancelled") ? "cancelled" : "success";
}

/** The state of the run that counts of a date, of runs in the order of their ids. */
export function latestOf(runs: readonly ModelRun[], day: string): RunState | undefined {
  const ofDay = runs.filter((run) => run.slice?.day === day);
  return (ofDay.find(isOpen) ?? ofDay.at(-1))?.state;
}

/** Dates of a backfill whose latest run ended other than well, but for those that have an open run of any of the DAG's backfills. */
export function unlucky(model: Model, backfill: ModelBackfill): string[] {
  const own = runsOfBackfill(model, backfill);
  const days = [...new Set(own.map(({ slice }) => slice!.day))];
  const isGoing = (day: string): boolean =>
    model.runs.some((run) => run.dag === backfill.dag && run.slice?.day === day && isOpen(run));
  return days
    .filter((day) => own.findLast(({ slice }) => slice!.day === day)!.state !== "success" && !isGoing(day))
    .toSorted((a, b) => (backfill.order === "asc" ? (a < b ? -1 : 1) : a < b ? 1 : -1));
}

/** A cancel of the backfill is committed, and nobody carries it out. */
export function asksToEnd(model: Model, backfill: ModelBackfill): void {
  backfill.state = "cancelling";
  for (const run of runsOfBackfill(model, backfill)) if (isOpen(run) && run.tasks.length > 0) run.isAsked = true;
}

/** What a scheduler does for a backfill that is being cancelled: what never began ends, the rest is asked to. */
export function tends(model: Model): void {
  for (const backfill of model.backfills) {
    if (backfill.state !== "cancelling") continue;
    asksToEnd(model, backfill);
    endsUnbegun(model, backfill);
  }
}

export function endsUnbegun(model: Model, backfill: ModelBackfill): void {
  for (const run of runsOfBackfill(model, backfill)) if (run.tasks.length === 0) cancels(model, run);
}

export function carriesOut(model: Model): void {
  for (const run of model.runs) if (run.isAsked) cancels(model, run);
}
