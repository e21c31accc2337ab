import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import type { Continued, Finish } from "#lib/db/finishes.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { isRefused } from "#lib/db/database-errors.ts";
import { type Ended, finishAndContinue } from "#lib/engine/finish.ts";
import type { ProtocolGuard } from "../protocol-guard.ts";

/** A batch is half of the worker's slots, so that it ends one half while it claims for the other; these are its bounds. */
const MIN_BATCH = 32;
const MAX_BATCH = 250;
/** Characters of what the tasks of a batch leave: all of it is one statement. One task alone may leave more. */
const MAX_BATCH_LENGTH = 8 * 1024 * 1024;
const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2_000;

/** Accepted, perhaps with a child to go on with; or refused, because the attempt is no longer this worker's. */
export type Answer = { accepted: boolean; next?: Continued | undefined };

export type Finisher = {
  /** Resolves when the end was accepted or refused. It may wait so long for others; 0 when something waits for it. */
  submit(end: Finish, patienceMs: number): Promise<Answer>;
};

type Waiting = { end: Finish; patienceMs: number; busyMs: number; settled: (answer: Answer) => void };

/** An end whose run was locked comes again after this, doubled each time. */
const FIRST_BUSY_MS = 50;
const MAX_BUSY_MS = 1_000;

/** So many ends wait no longer. */
const ENOUGH_ENDS = 32;

export type FinisherOptions = {
  actor: string;
  /** Of the slot class that has the most. */
  slots: number;
  /** Takes tokens of children that an unanswered call may have claimed. */
  unheard: string[];
  protocol: Pick<ProtocolGuard, "worked" | "failed" | "isOver">;
  /** Is told the lanes in which a slot fell free for what the worker may claim without admission. */
  onClaimable: (lanes: readonly string[]) => void;
};

/**
 * Hands ends in: at once when nothing is under way, else together with all that came meanwhile. Ends whose slots went on
 * without them gather for a moment: while tasks are short, many ends cost little more than one. An end whose run is
 * locked waits by itself and is sent again; the others do not wait for it. A database that
 * is away is waited for; the lease may run out, and then the end is refused.
 */
export function createFinisher(
  deps: EngineDeps,
  { actor, slots, unheard, protocol, onClaimable }: FinisherOptions,
): Finisher {
  const maxBatch = Math.min(MAX_BATCH, Math.max(MIN_BATCH, Math.ceil(slots / 2)));
  let waiting: Waiting[] = [];
  let working = false;
  let hurry = (): void => undefined;
  /** How long those that gather wait now. */
  let gatheringMs = 0;

  const work = async (): Promise<void> => {
    working = true;
    // Ends of the same moment go together.
    await Promise.resolve();
    while (waiting.length > 0) {
      if (waiting.length < ENOUGH_ENDS && !waiting.some((item) => item.patienceMs === 0)) await gather();
      const batch = nextBatch(waiting, maxBatch);
      waiting = waiting.filter((item) => !batch.has(item));
      const { accepted, busy, continued, claimable } = await persist([...batch].map((item) => item.end));
      for (const item of batch) {
        const id = item.end.taskInstanceId;
        if (busy.has(id)) sendAgain(item);
        else item.settled({ accepted: accepted.has(id), next: continued.get(id) });
      }
      // After the slots have heard that they are free.
      if (claimable.length > 0) onClaimable(claimable);
    }
    working = false;
  };

  const sendAgain = (item: Waiting): void => {
    const busyMs = Math.min(MAX_BUSY_MS, item.busyMs * 2);
    // A call without an answer may have accepted it and claimed a child by this token, which is handed back.
    const { next, ...end } = item.end;
    const mayContinue = next !== undefined && !unheard.includes(next.token);
    setTimeout(() => add({ ...item, end: mayContinue ? item.end : end, busyMs }), item.busyMs);
  };

  const add = (item: Waiting): void => {
    waiting.push(item);
    if (item.patienceMs < gatheringMs || waiting.length >= ENOUGH_ENDS) hurry();
    if (!working) void work();
  };

  const gather = (): Promise<void> =>
    new Promise((resolve) => {
      gatheringMs = Math.min(...waiting.map((item) => item.patienceMs));
      const timer = setTimeout(resolve, gatheringMs);
      hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const persist = async (ends: Finish[]): Promise<Ended> => {
    for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(MAX_BACKOFF_MS, backoffMs * 2)) {
      try {
        const ended = await finishAndContinue(deps, ends, actor);
        protocol.worked(FINISH);
        if (backoffMs > FIRST_BACKOFF_MS) unheard.push(...doubtful(ends, ended));
        return ended;
      } catch (error) {
        if (isRefused(error)) return apart(ends, messageOf(error));
        protocol.failed(FINISH, error);
        // The leases run out, and the tasks run again where the database is understood.
        if (protocol.isOver()) return NONE_ENDED;
        deps.log.warn({ error: messageOf(error), ends: ends.length }, "results could not be handed in; trying again");
        await delay(backoffMs);
      }
    }
  };

  /** One end that cannot be kept must not keep the others from it: apart from them, and then without what its task left. */
  const apart = async (ends: readonly Finish[], error: string): Promise<Ended> => {
    if (ends.length > 1) {
      const half = ends.length >> 1;
      const [first, second] = [await persist(ends.slice(0, half)), await persist(ends.slice(half))];
      return {
        accepted: new Set([...first.accepted, ...second.accepted]),
        busy: new Set([...first.busy, ...second.busy]),
        continued: new Map([...first.continued, ...second.continued]),
        claimable: [...new Set([...first.claimable, ...second.claimable])],
      };
    }
    const [end] = ends;
    if (end !== undefined && end.reason !== UNSTORABLE) return persist([withoutResult(end, error)]);
    deps.log.error({ error, task: end?.taskInstanceId }, "an end was refused by the database; its lease will run out");
    return NONE_ENDED;
  };

  return {
    submit(end, patienceMs) {
      return new Promise((settled) => add({ end, patienceMs, busyMs: FIRST_BUSY_MS, settled }));
    },
  };
}

/**
 * The first of them, one for each task: an answer tells tasks apart, not attempts, and a worker that has lost an
 * attempt may hold the next one of the same task as well.
 */
function nextBatch(waiting: readonly Waiting[], most: number): Set<Waiting> {
  const byTask = new Map<string, Waiting>();
  let length = 0;
  for (const item of waiting) {
    if (byTask.size === most) break;
    if (byTask.has(item.end.taskInstanceId)) continue;
    length += lengthOf(item.end);
    if (byTask.size > 0 && length > MAX_BATCH_LENGTH) break;
    byTask.set(item.end.taskInstanceId, item);
  }
  return new Set(byTask.values());
}

const NONE_ENDED: Ended = { accepted: new Set(), busy: new Set(), continued: new Map(), claimable: [] };

const FINISH = "sluice.finish_1";
const UNSTORABLE = "RESULT_UNSTORABLE";

function withoutResult({ taskInstanceId, token }: Finish, error: string): Finish {
  const why = `the database refuses what the task left: ${error}`;
  return { taskInstanceId, token, state: "failed", reason: UNSTORABLE, error: why };
}

function lengthOf({ output = "", pushed = {} }: Finish): number {
  return Object.values(pushed).reduce((sum, json) => sum + json.length, output.length);
}

/** An end refused at a later try may have been accepted at an earlier one, and with it a child claimed. */
function doubtful(ends: readonly Finish[], { accepted }: Ended): string[] {
  return ends.flatMap(({ taskInstanceId, next }) => (next && !accepted.has(taskInstanceId) ? [next.token] : []));
}
