import type { LogEnd, TaskInstance } from "#lib/contract/task-instances.ts";
import type { TaskState } from "#lib/domain/states.ts";

const BEFORE_THE_START: Partial<Record<TaskState, string>> = {
  waiting: "The task waits for the tasks before it. Its log starts when it runs.",
  ready: "The task may run and waits for a free worker slot. If this lasts, check that a worker serves its queue.",
  queued: "The task was handed to a worker. Its log starts in a moment.",
  upstream_failed: "The task did not run: a task before it failed. Read that one's log.",
  skipped: "The task was skipped and wrote nothing.",
  cancelled: "The task was cancelled before it wrote anything.",
};

/** Why a log is blank. */
export function emptyLog(task: TaskInstance, end: LogEnd | undefined): string {
  const reason = BEFORE_THE_START[task.state];
  if (reason !== undefined && !end?.attempt) return reason;
  return end === undefined ? "Nothing has been written yet." : "The attempt ended without writing anything.";
}
