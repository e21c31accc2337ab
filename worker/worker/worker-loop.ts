import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { claim } from "#lib/engine/claim.ts";
import { LEASE_MS, SELF_FENCE_MS } from "#lib/engine/lease.ts";
import { handBack, handBackUnheard } from "#lib/engine/sweep.ts";
import { type Lane, laneName, lanesOf, ownQueue } from "#lib/queue/task-queue.ts";
import type { Duties } from "../health.ts";
import type { Finisher } from "./finisher.ts";
import type { LogWriter } from "./log-writer.ts";
import { type AttemptTools, runAttempt } from "./run-attempt.ts";

/** The floor under NOTIFY: a missed announcement costs this much at most. */
const POLL_MS = 5_000;
const ERROR_PAUSE_MS = 500;
const WATCHDOG_MS = 500;

export type WorkerLoop = {
  run(): Promise<void>;
  /** Something may be there to claim: on this lane, or on any. */
  wake(lane?: string): void;
  heartbeat(): Promise<void>;
  /** Stops claiming, gives running attempts `graceMs`, then kills them and hands them back. */
  drain(graceMs: number): Promise<void>;
};

type Held = { claimed: Claimed; slotClass: SlotClass; stop: AbortController };

export function createWorkerLoop(options: {
  tools: AttemptTools;
  worker: WorkerRef;
  lanes: readonly Lane[];
  slots: Record<SlotClass, number>;
  logs: LogWriter;
  finisher: Finisher;
  duties: Duties;
  /** Tokens of claims whose answer never came; what they took is handed back at the next heartbeat. */
  unheard: string[];
  /** Another process has taken this worker's name. */
  onReplaced: () => void;
}): WorkerLoop {
  const { tools, worker, slots } = options;
  const { deps } = tools;
  const held = new Map<string, Held>();
  /** What goes on in each slot in use. */
  const working = new Set<Promise<void>>();
  const draining = new AbortController();
  let confirmedAt = performance.now();
  let woken = Promise.withResolvers<void>();
  let looping: Promise<void> = Promise.resolve();
  let stopped = false;

  // What is meant for this worker alone is announced, and looked for at every heartbeat.
  const all = [...options.lanes, ...lanesOf([ownQueue(worker.id)])];
  /** Lanes that may have something to claim. */
  const asked = new Set(all);

  const stir = (): void => {
    woken.resolve();
    woken = Promise.withResolvers();
  };

  const wake = (name?: string): void => {
    const lanes = all.filter((lane) => name === undefined || laneName(lane) === name);
    for (const lane of lanes) asked.add(lane);
    if (lanes.length > 0) stir();
  };

  const free = (slotClass: SlotClass): number =>
    slots[slotClass] -
    held
      .values()
      .filter((attempt) => attempt.slotClass === slotClass)
      .toArray().length;

  /** Runs an attempt and hands its end in; answers the child that goes on in its slot. */
  const carry = async (claimed: Claimed, stop: AbortController): Promise<Claimed | undefined> => {
    const log = options.logs.open(claimed);
    const end = await runAttempt(tools, claimed, stop.signal, log);
    await log.stored();
    // Stopped from outside: not this worker's verdict any more. A drained attempt is handed back, a fenced one is gone.
    if (stop.signal.aborted) return undefined;
    const next = draining.signal.aborted ? undefined : { attemptId: deps.newToken(), token: deps.newToken() };
    const answer = await options.finisher.submit({ ...end, next });
    if (!answer.accepted)
      deps.log.info({ attempt: claimed.attemptId }, "a late result was refused: the attempt is no longer ours");
    return answer.next && { ...claimed, ...answer.next };
  };

  const hold = async (claimed: Claimed, slotClass: SlotClass): Promise<Claimed | undefined> => {
    const stop = new AbortController();
    held.set(claimed.attemptId, { claimed, slotClass, stop });
    // Claimed while everything was being stopped: it goes back with the rest.
    if (stopped) stop.abort(new Error("the worker stops"));
    try {
      return await carry(claimed, stop);
    } catch (error) {
      deps.log.error({ error: messageOf(error) }, "an attempt could not be carried to its end");
      return undefined;
    } finally {
      held.delete(claimed.attemptId);
    }
  };

  /** One slot's work, from a claim to the first attempt after which no child goes on. */
  const start = (first: Claimed, slotClass: SlotClass): void => {
    const work = (async () => {
      for (let next: Claimed | undefined = first; next !== undefined;) next = await hold(next, slotClass);
      stir();
    })();
    working.add(work);
    void work.finally(() => working.delete(work));
  };

  const claimLane = async (lane: Lane): Promise<void> => {
    const room = free(lane.slotClass);
    if (room <= 0) return;
    asked.delete(lane);
    const tokens = Array.from({ length: room }, deps.newToken);
    try {
      const claimed = await claim(deps, worker, lane, tokens);
      // As many as there was room for: more may be left.
      if (claimed.length === room) asked.add(lane);
      for (const attempt of claimed) start(attempt, lane.slotClass);
    } catch (error) {
      // Its commit may have been done and only the answer lost.
      options.unheard.push(...tokens);
      asked.add(lane);
      throw error;
    }
  };

  const stopAll = (reason: string): void => {
    for (const attempt of held.values()) attempt.stop.abort(new Error(reason));
  };

  /** Lanes of one class share its slots, so they are asked in turn; each time another one first. */
  let turn = 0;
  const claimClass = async (slotClass: SlotClass): Promise<void> => {
    const lanes = all.filter((lane) => lane.slotClass === slotClass && asked.has(lane));
    for (const at of lanes.keys()) await claimLane(lanes[(at + turn) % lanes.length]!);
  };

  // Apart from the heartbeat: one that hangs must not keep the worker from noticing.
  const watchdog = setInterval(() => {
    if (performance.now() - confirmedAt > SELF_FENCE_MS) stopAll("the lease could not be renewed in time");
  }, WATCHDOG_MS);

  const loop = async (): Promise<void> => {
    while (!draining.signal.aborted) {
      const next = woken.promise;
      try {
        turn++;
        await Promise.all(SLOT_CLASSES.map(claimClass));
        options.duties.done("claim");
        if (asked.values().some((lane) => free(lane.slotClass) > 0)) continue;
      } catch (error) {
        deps.log.warn({ error: messageOf(error) }, "could not claim; trying again");
        await delay(ERROR_PAUSE_MS);
        continue;
      }
      const poll = new AbortController();
      const polled = delay(POLL_MS, true, { signal: poll.signal }).catch(() => false);
      if ((await Promise.race([next, polled])) === true) for (const lane of options.lanes) asked.add(lane);
      poll.abort();
    }
  };

  return {
    wake,
    run() {
      looping = loop();
      return looping;
    },
    async heartbeat() {
      if (stopped) return;
      const sentAt = performance.now();
      const known = [...held.values()];
      const attempts = known.map(({ claimed }) => ({ taskInstanceId: claimed.taskInstanceId, token: claimed.token }));
      const unheard = options.unheard.splice(0);
      if (unheard.length > 0)
        await handBackUnheard(deps, worker, unheard).catch(() => options.unheard.push(...unheard));
      const beat = await renewLeases(deps.pool, worker, attempts, LEASE_MS);
      // From before it was sent: our own view of the lease must end first.
      confirmedAt = sentAt;
      if (beat.workerState === undefined) options.onReplaced();
      for (const slotClass of beat.assigned) wake(laneName({ queue: ownQueue(worker.id), slotClass }));
      const ours = new Set(beat.held);
      for (const attempt of known) {
        const lost = held.has(attempt.claimed.attemptId) && !ours.has(attempt.claimed.attemptId);
        if (lost) attempt.stop.abort(new Error("the attempt is no longer this worker's"));
      }
    },
    async drain(graceMs) {
      draining.abort();
      wake();
      await setWorkerState(deps.pool, worker, "draining").catch(() => undefined);
      // A claim under way may still bring something.
      await looping;
      const ended = Promise.all(working);
      const timeout = new AbortController();
      await Promise.race([ended, delay(graceMs, undefined, { signal: timeout.signal }).catch(() => undefined)]);
      timeout.abort();
      stopped = true;
      stopAll("the worker stops");
      await ended;
      clearInterval(watchdog);
      await handBack(deps, worker);
      await setWorkerState(deps.pool, worker, "stopped");
      await deps.notifier.flush();
    },
  };
}
