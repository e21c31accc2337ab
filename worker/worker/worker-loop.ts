import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { claim } from "#lib/engine/claim.ts";
import { LEASE_MS, SELF_FENCE_MS } from "#lib/engine/lease.ts";
import { handBack } from "#lib/engine/sweep.ts";
import { type Lane, laneName } from "#lib/queue/task-queue.ts";
import type { Duties } from "../health.ts";
import type { Finisher } from "./finisher.ts";
import type { LogWriter } from "./log-writer.ts";
import { type AttemptTools, runAttempt } from "./run-attempt.ts";

/** The floor under NOTIFY: a missed announcement costs this much at most. */
const POLL_MS = 2_000;
const ERROR_PAUSE_MS = 500;
const WATCHDOG_MS = 500;

export type WorkerLoop = {
  run(): Promise<void>;
  /** Something may be there to claim. */
  wake(): void;
  heartbeat(): Promise<void>;
  /** Stops claiming, gives running attempts `graceMs`, then kills them and hands them back. */
  drain(graceMs: number): Promise<void>;
};

type Held = { claimed: Claimed; slotClass: SlotClass; stop: AbortController; ended: Promise<void> };

export function createWorkerLoop(options: {
  tools: AttemptTools;
  worker: WorkerRef;
  lanes: readonly Lane[];
  slots: Record<SlotClass, number>;
  logs: LogWriter;
  finisher: Finisher;
  duties: Duties;
  /** Another process has taken this worker's name. */
  onReplaced: () => void;
}): WorkerLoop {
  const { tools, worker, slots } = options;
  const { deps } = tools;
  const held = new Map<string, Held>();
  const draining = new AbortController();
  let confirmedAt = performance.now();
  let woken = Promise.withResolvers<void>();
  let looping: Promise<void> = Promise.resolve();
  let stopped = false;

  const wake = (): void => {
    woken.resolve();
    woken = Promise.withResolvers();
  };

  const free = (slotClass: SlotClass): number =>
    slots[slotClass] -
    held
      .values()
      .filter((attempt) => attempt.slotClass === slotClass)
      .toArray().length;

  const carry = async (claimed: Claimed, stop: AbortController): Promise<void> => {
    const log = options.logs.open(claimed);
    const end = await runAttempt(tools, claimed, stop.signal, log);
    await options.logs.flush();
    // Stopped from outside: not this worker's verdict any more. A drained attempt is handed back, a fenced one is gone.
    if (stop.signal.aborted) return;
    const result = await options.finisher.submit(end);
    if (result === "fenced")
      deps.log.info({ attempt: claimed.attemptId }, "a late result was refused: the attempt is no longer ours");
  };

  const start = (claimed: Claimed, slotClass: SlotClass): void => {
    const stop = new AbortController();
    const ended = carry(claimed, stop)
      .catch((error: unknown) =>
        deps.log.error({ error: messageOf(error) }, "an attempt could not be carried to its end"),
      )
      .finally(() => {
        held.delete(claimed.attemptId);
        wake();
      });
    held.set(claimed.attemptId, { claimed, slotClass, stop, ended });
    // Claimed while everything was being stopped: it goes back with the rest.
    if (stopped) stop.abort(new Error("the worker stops"));
  };

  const claimLane = async (lane: Lane): Promise<boolean> => {
    const room = free(lane.slotClass);
    if (room <= 0) return false;
    const claimed = await claim(deps, worker, laneName(lane), room);
    for (const attempt of claimed) start(attempt, lane.slotClass);
    return claimed.length === room;
  };

  const stopAll = (reason: string): void => {
    for (const attempt of held.values()) attempt.stop.abort(new Error(reason));
  };

  /** Lanes of one class share its slots, so they are asked in turn; each time another one first. */
  let turn = 0;
  const claimClass = async (slotClass: SlotClass): Promise<boolean> => {
    const lanes = options.lanes.filter((lane) => lane.slotClass === slotClass);
    let full = false;
    for (const at of lanes.keys()) full = (await claimLane(lanes[(at + turn) % lanes.length]!)) || full;
    return full;
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
        const full = await Promise.all(SLOT_CLASSES.map(claimClass));
        options.duties.done("claim");
        if (full.some(Boolean)) continue;
      } catch (error) {
        deps.log.warn({ error: messageOf(error) }, "could not claim; trying again");
        await delay(ERROR_PAUSE_MS);
      }
      const poll = new AbortController();
      await Promise.race([next, delay(POLL_MS, undefined, { signal: poll.signal }).catch(() => undefined)]);
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
      const attempts = known.map(({ claimed }) => ({ id: claimed.attemptId, token: claimed.token }));
      const beat = await renewLeases(deps.pool, worker, attempts, LEASE_MS);
      // From before it was sent: our own view of the lease must end first.
      confirmedAt = sentAt;
      if (beat.workerState === undefined) options.onReplaced();
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
      const ended = Promise.all([...held.values()].map((attempt) => attempt.ended));
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
