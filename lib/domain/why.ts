import type { RunActionKind, TaskState } from "./states.ts";
import { type WaitReason, waitSentence } from "./wait-reason.ts";

/** All that is known about why a task instance is where it is. Times are ISO texts. */
export type TaskSituation = {
  taskId: string;
  state: TaskState;
  attempt: number;
  /** Parents that have not ended well, with their states. */
  parents: { taskId: string; state: TaskState }[];
  dagPausedBy: string | null;
  runPausedBy: string | null;
  backfillPausedBy: string | null;
  /** A person's action on its run that is being carried out. */
  runAction: RunActionKind | null;
  /** It has lost several workers, and waits until few such tasks run. */
  isApart: boolean;
  lostAttempts: number;
  /** Its run goes again and waits for room. */
  isRunQueued: boolean;
  wait: (WaitReason & { since: string }) | null;
  readyAt: string | null;
  startedAt: string | null;
  endedAt: string | null;
  /** When it goes on, of one that is retrying or deferred. */
  notBefore: string | null;
  /** How often its attempt has said "not yet". */
  deferrals: number;
  workerId: string | null;
  /** How the latest attempt ended, or what a deferred one waits for. */
  reason: string | null;
  error: string | null;
};

const named = (parents: TaskSituation["parents"]): string =>
  parents.map(({ taskId, state }) => `${taskId} (${state})`).join(", ");

const ended = ({ state, endedAt }: TaskSituation): string => `it ended as ${state} at ${endedAt ?? "?"}`;

const SENTENCES: Record<TaskState, (task: TaskSituation) => string> = {
  waiting: ({ parents }) => `it waits for ${named(parents) || "its parents"}`,
  ready: whyReady,
  queued: ({ attempt }) =>
    `it was handed to the workers of its queue, and the next free one takes it; attempt ${attempt}`,
  running: ({ workerId, startedAt, attempt }) =>
    `it runs on worker ${workerId ?? "?"} since ${startedAt ?? "?"}, attempt ${attempt}`,
  retrying: ({ attempt, reason, notBefore }) =>
    `attempt ${attempt} failed (${reason ?? "?"}); the next one starts at ${notBefore ?? "?"}`,
  deferred: ({ deferrals, reason, notBefore }) =>
    `it looks again at ${notBefore ?? "?"}: ${reason ?? "?"}${deferrals > 1 ? ` (looked ${deferrals} times)` : ""}`,
  upstream_failed: ({ parents }) => `it never ran, because of ${named(parents)}`,
  skipped: ({ attempt, reason }) =>
    attempt === 0 ? "its trigger rule skipped it" : `it was skipped (${reason ?? "?"})`,
  success: ended,
  cancelled: ended,
  failed: ({ reason, error }) => `it failed (${reason ?? "?"})${error === null ? "" : `: ${error}`}`,
};

/** One sentence that says why the task is not running, or what it does. */
export function whySentence(task: TaskSituation): string {
  return SENTENCES[task.state](task);
}

function whyReady({ isApart, lostAttempts, ...of }: TaskSituation): string {
  const why = whyHeld(of);
  if (why !== undefined) return why;
  if (isApart)
    return `it has lost its worker ${lostAttempts} times, and waits until a worker runs no other task that has lost several`;
  if (of.wait === null) return "it is ready, and the next admission looks at it within a second";
  return `${waitSentence(of.wait)} (since ${of.wait.since})`;
}

type Holds = Pick<TaskSituation, "dagPausedBy" | "backfillPausedBy" | "runPausedBy" | "runAction" | "isRunQueued">;

/** What holds all of its run; undefined when nothing does. */
function whyHeld({ dagPausedBy, backfillPausedBy, runPausedBy, runAction, isRunQueued }: Holds): string | undefined {
  if (dagPausedBy !== null) return `its DAG was paused by ${dagPausedBy}`;
  if (backfillPausedBy !== null) return `its backfill was paused by ${backfillPausedBy}`;
  if (runPausedBy !== null) return `its run was paused by ${runPausedBy}`;
  if (runAction === "resume") return "its run is resuming: nothing of it starts until all of its tasks are let go";
  if (runAction !== null) return `its run waits until a ${runAction} of it is carried out`;
  return isRunQueued ? "its run is queued, and goes on when there is room for it" : undefined;
}

/** A run that waits for room. Counts are of runs of its backfill, or of its DAG without one; `ahead` are queued before it. */
export type QueuedRun = {
  dagId: string;
  backfillId: string | null;
  backfillPausedBy: string | null;
  dagPausedBy: string | null;
  runPausedBy: string | null;
  limit: number;
  running: number;
  ahead: number;
};

/** Why a queued run has not started, in one sentence. */
export function whyQueued(run: QueuedRun): string {
  const { dagId, backfillId, dagPausedBy, backfillPausedBy, runPausedBy, limit, running, ahead } = run;
  if (runPausedBy !== null) return `it is paused by ${runPausedBy}`;
  if (dagPausedBy !== null) return `its DAG ${dagId} is paused by ${dagPausedBy}`;
  if (backfillPausedBy !== null) return `its backfill ${backfillId} is paused by ${backfillPausedBy}`;
  if (running < limit) return "it starts in a moment";
  const queue = ahead === 0 ? "it is the next" : `${ahead} more ${ahead === 1 ? "is" : "are"} queued before it`;
  return `${running} of ${limit} runs of ${backfillId === null ? dagId : `backfill ${backfillId}`} are active; ${queue}`;
}

/** A person's action on a run that is being carried out; `total` is null until its tasks are counted. */
export type ActionProgress = { kind: RunActionKind; actor: string; done: number; total: number | null };

const HOLDING = { pause: "pausing", resume: "resuming" };

/** How far the action is, in one sentence. */
export function actionSentence({ kind, actor, done, total }: ActionProgress): string {
  if (kind === "pause" || kind === "resume")
    return `this run is ${HOLDING[kind]}${total === null ? "" : `: ${done} of ${total} tasks are done`}`;
  const asked = `${actor} asked for a ${kind} of this run`;
  if (total === null) return `${asked}, which begins in a moment`;
  return done < total
    ? `${asked}: ${done} of ${total} tasks are done`
    : `${asked}: what depends on its tasks is being decided`;
}
