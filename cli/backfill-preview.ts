import type { Estimate } from "#lib/domain/backfill/estimate.ts";
import { type Action, countPlan, type PlannedSlice, toMake } from "#lib/domain/backfill/plan.ts";
import { formatDuration } from "#lib/domain/model/duration.ts";
import type { BackfillPreview, PreparedBackfill } from "#lib/engine/backfill/prepare.ts";
import { timeText } from "./cron-schedules.ts";
import { count, table } from "./print.ts";

/** So many dates are listed; of more, the first and the last. */
const MAX_LISTED = 60;
const LISTED_AT_END = 10;

const WORDS: Record<Action, string> = {
  create: "runs",
  rerun: "runs again",
  keep: "stays as it is",
  open: "is on its way",
};

/** What a backfill would do, date by date, and how long it may take. */
export function previewLines(
  found: BackfillPreview,
  estimate: Estimate | undefined,
  { maxActive }: { maxActive: number },
): string[] {
  const { plan } = found;
  return [
    `backfill of ${found.dagId}, logical dates from ${timeText(found.range.start)} to ${timeText(found.range.end)} UTC`,
    ...dateLines(plan),
    planLine(plan),
    ...leftOutLines(found),
    ...(toMake(plan).length === 0 ? [] : [durationLine(estimate, maxActive)]),
    "nothing was made: leave out --dry-run to do it",
  ];
}

function dateLines(plan: readonly PlannedSlice[]): string[] {
  const [first, last] =
    plan.length <= MAX_LISTED ? [plan, []] : [plan.slice(0, MAX_LISTED - LISTED_AT_END), plan.slice(-LISTED_AT_END)];
  const withSchedule = new Set(plan.map(({ scheduleId }) => scheduleId)).size > 1;
  const row = ({ logicalDate, interval, latest, action, notes, scheduleId }: PlannedSlice): string[] => [
    timeText(logicalDate),
    timeText(interval.end),
    ...(withSchedule ? [scheduleId] : []),
    latest === undefined ? "" : `run ${latest.runId}: ${latest.state}`,
    WORDS[action],
    notes.join("; "),
  ];
  const headings = [
    "logical date (UTC)",
    "until",
    ...(withSchedule ? ["schedule"] : []),
    "there is",
    "and so it",
    "notes",
  ];
  const lines = table(headings, [...first, ...last].map(row));
  const hidden = plan.length - first.length - last.length;
  if (hidden > 0) lines.splice(1 + first.length, 0, `… ${hidden} more (--json lists all) …`);
  return lines;
}

/** `31 dates: 3 get their first run, 2 another one, 26 keep theirs (26 success)`. */
export function planLine(plan: readonly PlannedSlice[]): string {
  const counts = countPlan(plan);
  const parts = [
    [counts.create, "get a run"],
    [counts.rerun, "get another run"],
    [counts.keep, "keep the run they have"],
    [counts.open, "have one on its way"],
  ] as const;
  const states = Object.entries(counts.existing).map(([state, number]) => `${number} ${state}`);
  const existing = states.length === 0 ? "" : ` (there are ${states.join(", ")})`;
  const said = parts.filter(([number]) => number > 0).map(([number, words]) => `${number} ${words}`);
  return `${count(plan.length, "date")}: ${said.join(", ")}${existing}`;
}

export function leftOutLines({ notDue, leftToSchedule }: PreparedBackfill): string[] {
  const lines: string[] = [];
  if (notDue > 0) lines.push(`left out: ${count(notDue, "date")} whose time has not ended yet`);
  if (leftToSchedule > 0)
    lines.push(`left out: ${count(leftToSchedule, "date")} that the schedule is going to start itself`);
  return lines;
}

function durationLine(estimate: Estimate | undefined, maxActive: number): string {
  const atOnce = `${maxActive} at once`;
  if (estimate === undefined)
    return `no run of this DAG has succeeded yet, so there is no telling how long it takes, ${atOnce}`;
  const { usualMs, slowMs, fromRuns } = estimate;
  return `about ${about(usualMs)}, ${atOnce} (${about(slowMs)} if runs are slow), judging by ${count(fromRuns, "earlier run")}`;
}

/** A span in whole seconds, and in whole minutes from an hour on. */
export function about(ms: number): string {
  const unit = ms >= 3_600_000 ? 60_000 : 1_000;
  return formatDuration(Math.max(unit, Math.round(ms / unit) * unit));
}

export function previewJson(found: BackfillPreview, estimate: Estimate | undefined): unknown {
  const { dagId, timezone, range, plan, notDue, leftToSchedule } = found;
  return {
    dagId,
    timezone,
    range,
    counts: countPlan(plan),
    notDue,
    leftToSchedule,
    estimate: estimate ?? null,
    dates: plan,
  };
}
