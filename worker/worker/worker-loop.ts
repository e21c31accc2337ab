import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import type { SlotClass } from "#lib/domain/states.ts";
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
  let handingBack = false;

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
  };

  const claimLane = async (lane: Lane): Promise<boolean> => {
    const room = free(lane.slotClass);
    if (room <= 0) return false;
    const claimed = await claim(deps, worker, laneName(lane), room);
    for (const attempt of claimed) start(attempt, lane.slotClass);
    return claimed.length === room;
  };

  const stopAll = (reason: string, isStopped: (attempt: Held) => boolean): void => {
    for (const attempt of held.values()) if (isStopped(attempt)) attempt.stop.abort(new Error(reason));
  };

  return {
    wake,
    async run() {
      while (!draining.signal.aborted) {
        const next = woken.promise;
        try {
          const full = await Promise.all(options.lanes.map(claimLane));
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
    },
    async heartbeat() {
      if (handingBack) return;
      const sentAt = performance.now();
      const known = [...held.values()];
      try {
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
      } catch (error) {
        if (performance.now() - confirmedAt > SELF_FENCE_MS)
          stopAll("the lease could not be renewed in time", () => true);
        throw error;
      }
    },
    async drain(graceMs) {
      draining.abort();
      wake();
      await setWorkerState(deps.pool, worker, "draining").catch(() => undefined);
      const ended = Promise.all([...held.values()].map((attempt) => attempt.ended));
      const timeout = new AbortController();
      await Promise.race([ended, delay(graceMs, undefined, { signal: timeout.signal }).catch(() => undefined)]);
      timeout.abort();
      stopAll("the worker stops", () => true);
      await ended;
      handingBack = true;
      await handBack(deps, worker);
      await setWorkerState(deps.pool, worker, "stopped");
      await deps.notifier.flush();
    },
  };
}
