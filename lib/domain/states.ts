/**
 * The state machines, as data. Code, CHECK constraints, documents, colours and tests read these tables;
 * a state that is not placed here does not compile.
 */

export const RUN_STATES = ["queued", "running", "success", "failed", "cancelled"] as const;
export type RunState = (typeof RUN_STATES)[number];

export const TASK_STATES = [
  "waiting",
  "ready",
  "queued",
  "running",
  "success",
  "failed",
  "skipped",
  "upstream_failed",
  "cancelled",
  "retrying",
  "deferred",
] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** Live states first, then that between two looks; the rest are the ways an attempt can end. */
export const ATTEMPT_STATES = [
  "queued",
  "running",
  "deferred",
  "success",
  "failed",
  "skipped",
  "lost",
  "cancelled",
] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];

/** Which state may follow which without a person asking for it. A final state has no entry. */
export const RUN_MOVES = {
  queued: ["running", "cancelled"],
  running: ["success", "failed", "cancelled"],
  success: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<RunState, readonly RunState[]>;

export const TASK_MOVES = {
  // `waiting` → `running`: the worker that ended the last parent goes on with it.
  waiting: ["ready", "running", "skipped", "upstream_failed", "cancelled"],
  ready: ["queued", "cancelled"],
  queued: ["running", "ready", "cancelled"],
  // `running` → `ready` is a lost worker: the next attempt starts without waiting and without using a retry.
  running: ["success", "failed", "skipped", "cancelled", "retrying", "deferred", "ready"],
  retrying: ["ready", "cancelled"],
  deferred: ["ready", "cancelled"],
  success: [],
  failed: [],
  skipped: [],
  upstream_failed: [],
  cancelled: [],
} as const satisfies Record<TaskState, readonly TaskState[]>;

export const ATTEMPT_MOVES = {
  queued: ["running", "cancelled"],
  running: ["success", "failed", "skipped", "lost", "cancelled", "deferred"],
  deferred: ["queued", "cancelled"],
  success: [],
  failed: [],
  skipped: [],
  lost: [],
  cancelled: [],
} as const satisfies Record<AttemptState, readonly AttemptState[]>;

/** A backfill ends when all of its runs have. `cancelling`: nothing of it starts any more, and what goes on is being stopped. */
export const BACKFILL_STATES = ["running", "paused", "cancelling", "success", "failed", "cancelled"] as const;
export type BackfillState = (typeof BACKFILL_STATES)[number];

/** One that has ended goes on again when a person retries it or lets one of its runs go on. */
export const BACKFILL_MOVES = {
  running: ["paused", "cancelling", "success", "failed", "cancelled"],
  // What was going on when it was paused may have been all that was left.
  paused: ["running", "cancelling", "success", "failed", "cancelled"],
  cancelling: ["cancelled"],
  success: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<BackfillState, readonly BackfillState[]>;

export const FINAL_BACKFILL_STATES = BACKFILL_STATES.filter((state) => BACKFILL_MOVES[state].length === 0);

export function isFinalBackfillState(state: BackfillState): boolean {
  return BACKFILL_MOVES[state].length === 0;
}

export const FINAL_RUN_STATES = RUN_STATES.filter((state) => RUN_MOVES[state].length === 0);
export const FINAL_TASK_STATES = TASK_STATES.filter((state) => TASK_MOVES[state].length === 0);

export function isFinalRunState(state: RunState): boolean {
  return RUN_MOVES[state].length === 0;
}

export function isFinalTaskState(state: TaskState): boolean {
  return TASK_MOVES[state].length === 0;
}

/**
 * What people do to runs, which is carried out in slices; the first that was asked for is completed before another, but for a cancel,
 * which replaces any, and a pause or a resume, which any other interrupts.
 */
export const RUN_ACTIONS = ["cancel", "clear", "mark", "kill", "pause", "resume"] as const;
export type RunActionKind = (typeof RUN_ACTIONS)[number];

/** What started a run. */
export const TRIGGER_KINDS = ["schedule", "manual", "api", "backfill", "dag", "event"] as const;
export type TriggerKind = (typeof TRIGGER_KINDS)[number];

/**
 * What an attempt costs its worker, and so which of the worker's slots it takes:
 * `process` = an operating-system process, `function` = a call into a warm child process.
 */
export const SLOT_CLASSES = ["process", "function", "inline"] as const;
export type SlotClass = (typeof SLOT_CLASSES)[number];
