import { formatDuration } from "#lib/domain/model/duration.ts";
import type { LocalRun, LocalRunEvents, TaskEnd } from "#worker/dev/local-run.ts";
import { prefixedLines } from "./prefixed-lines.ts";
import { count, shorten, span, table } from "./print.ts";

/** What people read of a run that `sluice dags test` makes. */

const MARKS: Record<TaskEnd["state"], string> = {
  success: "✓",
  failed: "✗",
  upstream_failed: "✗",
  skipped: "○",
  cancelled: "■",
};

const HOW: Record<TaskEnd["by"], string> = {
  run: "",
  mock: "mocked",
  "not selected": "not selected",
  condition: "by its condition",
  rule: "by its trigger rule",
  stop: "stopped",
};

/** Tells each thing as it happens. */
export function liveReport(taskIds: readonly string[], write: (text: string) => void): LocalRunEvents {
  const lines = prefixedLines(Math.max(...taskIds.map((id) => id.length)), write);
  return {
    started: (taskId) => write(`▶ ${taskId}\n`),
    output: (taskId, stream, bytes) => lines.add(taskId, stream, bytes),
    retrying(taskId, { attempt, error, waitMs, jitter, waits }) {
      lines.end(taskId);
      const wait = `${waits ? "waiting" : "would wait"} ${jitter ? "up to " : ""}${formatDuration(waitMs)}`;
      write(`✗ ${taskId}: attempt ${attempt} failed: ${error}; trying again (${wait})\n`);
    },
    deferred(taskId, { reason, waitMs, waits }) {
      lines.end(taskId);
      const wait = `${waits ? "waiting" : "would wait"} ${formatDuration(waitMs)}`;
      write(`◷ ${taskId}: not yet: ${reason}; looking again (${wait})\n`);
    },
    ended(end) {
      lines.end(end.id);
      write(`${endLine(end)}\n`);
    },
  };
}

export function endLine(end: TaskEnd): string {
  const state = end.state === "success" && end.by === "run" ? "" : ` ${end.state}`;
  const how = HOW[end.by] === "" ? "" : ` (${HOW[end.by]})`;
  const tries = end.attempts > 1 ? `, ${count(end.attempts, "attempt")}` : "";
  const ran = end.attempts === 0 ? "" : `, ${span(end.durationMs)}${tries}`;
  return `${MARKS[end.state]} ${end.id}${state}${how}${ran}${detail(end) === "" ? "" : `: ${detail(end)}`}`;
}

function detail({ output, reason, error }: TaskEnd): string {
  if (error !== undefined) return shorten(`${reason} ${error}`, 200);
  if (output === undefined) return "";
  return shorten(JSON.stringify(output), 80);
}

/** The table at the end, and the verdict below it. */
export function summary(run: LocalRun): string[] {
  const rows = run.tasks.map((end) => [
    `${MARKS[end.state]} ${end.id}`,
    end.state,
    HOW[end.by] || "ran",
    String(end.attempts),
    end.attempts === 0 ? "-" : span(end.durationMs),
    detail(end) || "-",
  ]);
  return [
    "",
    ...table(["  task", "state", "how", "attempts", "time", "output"], rows),
    "",
    `${MARKS[run.state]} ${run.dagId}: ${run.state} in ${span(run.durationMs)}`,
  ];
}
