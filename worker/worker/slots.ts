import { messageOf } from "#lib/domain/errors.ts";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { Claimed } from "#lib/db/claims.ts";
import type { Finisher } from "./finisher.ts";
import type { LogWriter } from "./log-writer.ts";
import { createLookahead, type Lookahead } from "./lookahead.ts";
import { type AttemptTools, runAttempt } from "./run-attempt.ts";

/** A claimed attempt, from its claim until its end was handed in. */
export type Held = { claimed: Claimed; slotClass: SlotClass; stop: AbortController; claimedAt: number };

/**
 * How long the end of a task whose slot went on without it waits for others. Who waits for it waits behind what the
 * worker has claimed ahead; and what ends processes in that time, or functions, is less than that by far.
 */
const PATIENCE_MS: Record<SlotClass, number> = { process: 50, function: 10, inline: 10 };

/**
 * Several times as long as it takes on a busy machine to end attempts, to admit others and to claim them. Such a round
 * costs some ten milliseconds of processor for however few tasks it is, and processes end more slowly than functions.
 */
const ROUND_MS: Record<SlotClass, number> = { process: 200, function: 100, inline: 100 };

export type Slots = {
  /** By token: one attempt may be looked at twice here, the first time in vain. All of them have leases to renew. */
  held: ReadonlyMap<string, Held>;
  /** How many attempts of the class to claim now; 0 while there is enough to do. */
  room(slotClass: SlotClass): number;
  /** Runs the attempt in a free slot, or as soon as one falls free. */
  add(claimed: Claimed, slotClass: SlotClass): void;
  /** Attempts that have waited for a slot since before `claimedBefore` are given up; answers their tokens. */
  giveUp(claimedBefore: number): string[];
  /** To be claimed ahead of a slot: what others should know before. */
  ahead(slotClass: SlotClass): number;
  /** From now on no attempt is begun and no child gone on with. */
  close(): void;
  /** Ends what is held now; what is claimed later runs. */
  fence(reason: string): void;
  /** Ends what is held, and what a claim under way still brings. */
  stopAll(reason: string): void;
  /** Resolves when nothing runs any more. */
  ended(): Promise<unknown>;
};

/**
 * The slots of a worker, and who has them. A slot goes on with a child of what ended in it, or with the next that was
 * claimed ahead; then the end is handed in beside it, and the slot does not wait for the database.
 */
export function createSlots(options: {
  tools: AttemptTools;
  slots: Record<SlotClass, number>;
  logs: LogWriter;
  finisher: Finisher;
  /** How much of the class this worker has told others that it claims ahead: it claims no more than that. */
  told: (slotClass: SlotClass) => number;
  /** A slot may take a child of what ends in it. */
  mayContinue: () => boolean;
  /** There is room for something to claim. */
  onRoom: () => void;
  /** This worker could not begin the attempt of the token: it is for others. */
  onUnbegun: (token: string) => void;
}): Slots {
  const { tools, slots } = options;
  const { deps } = tools;
  const held = new Map<string, Held>();
  const waiting = byClass<Held[]>(() => []);
  const busy = byClass(() => 0);
  const lookaheads = byClass((slotClass): Lookahead => createLookahead(slots[slotClass], ROUND_MS[slotClass]));
  /** What goes on: the attempts in slots, and the ends that are being handed in. */
  const working = new Set<Promise<unknown>>();
  let closed = false;
  let stopped: string | undefined;

  const track = <T>(work: Promise<T>): Promise<T> => {
    working.add(work);
    void work.finally(() => working.delete(work));
    return work;
  };

  /** What runs inside the worker has slots enough. */
  const ahead = (slotClass: SlotClass): number => (slotClass === "inline" ? 0 : lookaheads[slotClass].ahead());

  const heldOf = (slotClass: SlotClass): number => {
    let count = 0;
    for (const attempt of held.values()) if (attempt.slotClass === slotClass) count++;
    return count;
  };

  /** Runs an attempt and hands its end in; answers the child that goes on in its slot, if `keeps` says that one may. */
  const carry = async (attempt: Held, keeps: () => boolean): Promise<Claimed | undefined> => {
    const { claimed, slotClass, stop } = attempt;
    const log = options.logs.open(claimed);
    const startedAt = performance.now();
    const end = await runAttempt(tools, claimed, stop.signal, log);
    lookaheads[slotClass].record(performance.now() - startedAt);
    const next =
      end !== undefined && keeps() && options.mayContinue()
        ? { attemptId: deps.newToken(), token: deps.newToken() }
        : undefined;
    await log.stored();
    if (end === undefined) {
      options.onUnbegun(claimed.token);
      return undefined;
    }
    // Stopped from outside: not this worker's verdict any more. A drained attempt is handed back, a fenced one is gone.
    if (stop.signal.aborted) return undefined;
    const patienceMs = next !== undefined || closed ? 0 : PATIENCE_MS[slotClass];
    const answer = await options.finisher.submit({ ...end, next }, patienceMs);
    if (!answer.accepted)
      deps.log.info({ attempt: claimed.attemptId }, "a late result was refused: the attempt is no longer ours");
    if (answer.next === undefined) return undefined;
    const child = { ...claimed, ...answer.next };
    tools.inputs.handOver(child, claimed, end);
    return child;
  };

  const hold = (claimed: Claimed, slotClass: SlotClass): Held => {
    const attempt = { claimed, slotClass, stop: new AbortController(), claimedAt: performance.now() };
    held.set(claimed.token, attempt);
    // Claimed while everything was being stopped: it goes back with the rest.
    if (stopped !== undefined) attempt.stop.abort(new Error(stopped));
    return attempt;
  };

  /** One attempt in a slot; answers what the slot goes on with. */
  const occupy = async (attempt: Held): Promise<Held | undefined> => {
    const { claimed, slotClass } = attempt;
    const released = Promise.withResolvers<undefined>();
    const keeps = (): boolean => {
      if (!closed && waiting[slotClass].length === 0) return true;
      // Others wait for the slot. It is theirs now.
      released.resolve(undefined);
      return false;
    };
    const end = track(
      carry(attempt, keeps)
        .catch((error: unknown) => {
          deps.log.error({ error: messageOf(error) }, "an attempt could not be carried to its end");
          return undefined;
        })
        .then((child) => {
          const next = child && hold(child, slotClass);
          held.delete(claimed.token);
          tools.inputs.forget(claimed);
          if (next === undefined) options.onRoom();
          return next;
        }),
    );
    return (await Promise.race([end, released.promise])) ?? nextWaiting(slotClass);
  };

  const nextWaiting = (slotClass: SlotClass): Held | undefined => {
    if (closed) return undefined;
    // What was fenced while it waited is not begun.
    for (let next = waiting[slotClass].shift(); next !== undefined; next = waiting[slotClass].shift()) {
      if (!next.stop.signal.aborted) return next;
      held.delete(next.claimed.token);
      tools.inputs.forget(next.claimed);
    }
    return undefined;
  };

  const start = (first: Held): void => {
    const { slotClass } = first;
    busy[slotClass]++;
    void track(
      (async () => {
        for (let next: Held | undefined = first; next !== undefined;) next = await occupy(next);
        busy[slotClass]--;
        options.onRoom();
      })(),
    );
  };

  const fence = (reason: string): void => {
    for (const attempt of held.values()) attempt.stop.abort(new Error(reason));
  };

  return {
    held,
    ahead,
    room(slotClass) {
      const more = Math.min(ahead(slotClass), options.told(slotClass));
      // Not one by one as they end, but when half of what was claimed ahead is used up.
      if (busy[slotClass] >= slots[slotClass] && waiting[slotClass].length >= Math.max(1, more / 2)) return 0;
      return Math.max(0, slots[slotClass] + more - heldOf(slotClass));
    },
    add(claimed, slotClass) {
      const attempt = hold(claimed, slotClass);
      if (busy[slotClass] < slots[slotClass]) return start(attempt);
      waiting[slotClass].push(attempt);
      tools.inputs.prefetch(claimed);
    },
    giveUp(claimedBefore) {
      const tokens: string[] = [];
      for (const slotClass of SLOT_CLASSES) {
        const late = waiting[slotClass].filter((attempt) => attempt.claimedAt < claimedBefore);
        if (late.length === 0) continue;
        waiting[slotClass] = waiting[slotClass].filter((attempt) => attempt.claimedAt >= claimedBefore);
        lookaheads[slotClass].forget();
        for (const { claimed } of late) {
          held.delete(claimed.token);
          tools.inputs.forget(claimed);
          tokens.push(claimed.token);
        }
      }
      return tokens;
    },
    close() {
      closed = true;
    },
    fence,
    stopAll(reason) {
      stopped = reason;
      fence(reason);
    },
    async ended() {
      while (working.size > 0) await Promise.all(working);
    },
  };
}

function byClass<T>(make: (slotClass: SlotClass) => T): Record<SlotClass, T> {
  return { process: make("process"), function: make("function"), inline: make("inline") };
}
