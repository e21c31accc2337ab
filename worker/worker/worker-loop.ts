import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { WorkerRef } from "#lib/db/claims.ts";
import { setWorkerAhead, setWorkerState } from "#lib/db/workers.ts";
import { admit } from "#lib/engine/admit.ts";
import { claim } from "#lib/engine/claim.ts";
import { SELF_FENCE_MS } from "#lib/engine/lease.ts";
import { handBack, handBackUnbegun, handBackUnheard } from "#lib/engine/sweep.ts";
import { type Lane, laneName, lanesOf, ownQueue } from "#lib/queue/task-queue.ts";
import type { Duties } from "../duties.ts";
import type { Finisher } from "./finisher.ts";
import type { Heart } from "./heartbeat/heart.ts";
import type { Attempts } from "./heartbeat/messages.ts";
import type { LogWriter } from "./log-writer.ts";
import type { AttemptTools } from "./run-attempt.ts";
import { createSlots, type Held } from "./slots.ts";

/** The floor under NOTIFY: a missed announcement costs this much at most. */
const POLL_MS = 5_000;
const ERROR_PAUSE_MS = 500;
const WATCHDOG_MS = 500;
/** So long what was claimed ahead may wait for its slot; then others may have it. */
const MAX_WAIT_MS = 500;

export type WorkerLoop = {
  run(): Promise<void>;
  /** Something may be there to claim: on this lane, or on any. */
  wake(lane?: string): void;
  heartbeat(): Promise<void>;
  /** Stops claiming, gives running attempts `graceMs`, then kills them and hands them back. */
  drain(graceMs: number): Promise<void>;
};

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
  heart: Heart;
  /** Another process has taken this worker's name. */
  onReplaced: () => void;
}): WorkerLoop {
  const { tools, worker, heart } = options;
  const { deps } = tools;
  const draining = new AbortController();
  let woken = Promise.withResolvers<void>();
  let looping: Promise<void> = Promise.resolve();
  let stopped = false;
  let published = { process: 0, function: 0 };

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

  /** The lease has not been confirmed for so long that it may be over before this worker knows. */
  const isOverdue = (): boolean => heart.age() > SELF_FENCE_MS;

  const slots = createSlots({
    tools,
    slots: options.slots,
    logs: options.logs,
    finisher: options.finisher,
    onRoom: stir,
  });

  const claimLane = async (lane: Lane): Promise<void> => {
    const room = slots.room(lane.slotClass);
    if (room === 0) return;
    asked.delete(lane);
    const tokens = Array.from({ length: room }, deps.newToken);
    try {
      const { claimed, delivered } = await claim(deps, worker, lane, tokens);
      // As many as there was room for: more may be left, also when these were nobody's any more.
      if (delivered >= room) asked.add(lane);
      for (const attempt of claimed) slots.add(attempt, lane.slotClass);
    } catch (error) {
      // Its commit may have been done and only the answer lost.
      options.unheard.push(...tokens);
      asked.add(lane);
      throw error;
    }
  };

  /** Lanes of one class share its slots, so they are asked in turn; each time another one first. */
  let turn = 0;
  const claimClass = async (slotClass: SlotClass): Promise<void> => {
    const lanes = all.filter((lane) => lane.slotClass === slotClass && asked.has(lane));
    for (const at of lanes.keys()) await claimLane(lanes[(at + turn) % lanes.length]!);
  };

  /** Tells admission how much this worker claims ahead, when it has changed; one at a time, so that the last one counts. */
  let publishing: Promise<void> = Promise.resolve();
  const publishAhead = (): Promise<void> => {
    publishing = publishing.catch(() => undefined).then(publish);
    return publishing;
  };

  const publish = async (): Promise<void> => {
    const ahead = { process: slots.ahead("process"), function: slots.ahead("function") };
    if (!differs(ahead.process, published.process) && !differs(ahead.function, published.function)) return;
    await setWorkerAhead(deps.pool, worker, ahead);
    published = ahead;
    // Not waited for: it is others' work as well.
    void admit(deps);
  };

  /** Not waited for by the heartbeat: it waits for locks. One at a time. */
  let givingBack: Promise<void> | undefined;
  const giveBackUnheard = (): Promise<void> => {
    const unheard = givingBack === undefined ? options.unheard.splice(0) : [];
    if (unheard.length === 0) return givingBack ?? Promise.resolve();
    givingBack = handBackUnheard(deps, worker, unheard)
      .catch((error: unknown) => {
        deps.log.warn({ error: messageOf(error) }, "could not give attempts back; trying again at the next heartbeat");
        options.unheard.push(...unheard);
      })
      .finally(() => (givingBack = undefined));
    return givingBack;
  };

  const heartbeat = async (): Promise<void> => {
    if (stopped) return;
    const known = [...slots.held.values()];
    void giveBackUnheard();
    const beat = await heart.beat(known.map(tokenOf));
    if (beat.workerState === undefined) options.onReplaced();
    for (const slotClass of beat.assigned) wake(laneName({ queue: ownQueue(worker.id), slotClass }));
    const ours = new Set(beat.held);
    for (const attempt of known) {
      const { token } = attempt.claimed;
      if (slots.held.has(token) && !ours.has(token))
        attempt.stop.abort(new Error("the attempt is no longer this worker's"));
    }
  };

  /** What was claimed and not begun goes to others at once. */
  const giveBack = async (tokens: readonly string[]): Promise<void> => {
    if (tokens.length === 0) return;
    // First what this worker asks for, or it would be handed over here again.
    await publishAhead()
      .then(() => handBackUnbegun(deps, worker, tokens))
      .catch(() => options.unheard.push(...tokens));
  };

  // Apart from the heartbeat: one that hangs must not keep the worker from noticing.
  const watchdog = setInterval(() => {
    heart.know([...slots.held.values()].map(tokenOf));
    if (isOverdue()) slots.fence("the lease could not be renewed in time");
    void giveBack(slots.giveUp(performance.now() - MAX_WAIT_MS));
  }, WATCHDOG_MS);

  const loop = async (): Promise<void> => {
    while (!draining.signal.aborted) {
      const next = woken.promise;
      try {
        // Fenced would be at once what is claimed under a lease that nobody has confirmed.
        if (isOverdue()) await heartbeat();
        turn++;
        await allDone([...SLOT_CLASSES.map(claimClass), publishAhead()]);
        options.duties.done("claim");
        if (asked.values().some((lane) => slots.room(lane.slotClass) > 0)) continue;
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
    heartbeat,
    async drain(graceMs) {
      draining.abort();
      slots.close();
      wake();
      await setWorkerState(deps.pool, worker, "draining").catch(() => undefined);
      // A claim under way may still bring something.
      await looping;
      await giveBack(slots.giveUp(Number.POSITIVE_INFINITY));
      const ended = slots.ended();
      const timeout = new AbortController();
      await Promise.race([ended, delay(graceMs, undefined, { signal: timeout.signal }).catch(() => undefined)]);
      timeout.abort();
      stopped = true;
      slots.stopAll("the worker stops");
      await ended;
      clearInterval(watchdog);
      await givingBack;
      // What cannot be given back now, the sweep gives back: the worker has stopped.
      await handBack(deps, worker).catch((error: unknown) =>
        deps.log.warn({ error: messageOf(error) }, "could not give all attempts back; a scheduler will"),
      );
      await setWorkerState(deps.pool, worker, "stopped");
      await deps.notifier.flush();
    },
  };
}

function tokenOf({ claimed }: Held): Attempts[number] {
  return { taskInstanceId: claimed.taskInstanceId, token: claimed.token };
}

/** Waits for all, also when one has failed: what is left behind would claim beside the next pass. */
async function allDone(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

/** Not each step up or down is worth a statement, only one that changes how much there is to do. */
function differs(now: number, told: number): boolean {
  return (now === 0) !== (told === 0) || (told > 0 && (now >= 4 * told || told >= 4 * now));
}
