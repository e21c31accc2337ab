import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { Claims, WorkerRef } from "#lib/db/claims.ts";
import { setWorkerAhead, setWorkerState, setWorkerTrouble } from "#lib/db/workers.ts";
import { laneName, lanesOf, ownName } from "#lib/domain/lanes.ts";
import { claim } from "#lib/engine/claim.ts";
import { LEASE_MS, SELF_FENCE_MS } from "#lib/engine/lease.ts";
import { handBack, handBackUnbegun, handBackUnheard } from "#lib/engine/sweep.ts";
import type { Duties } from "#lib/obs/duties.ts";
import type { ProtocolGuard } from "../protocol-guard.ts";
import type { Finisher } from "./finisher.ts";
import type { Heart } from "./heartbeat/heart.ts";
import type { Attempts } from "./heartbeat/messages.ts";
import type { LogWriter } from "./log-writer.ts";
import type { AttemptTools } from "./run-attempt.ts";
import { createUnheard } from "./unheard.ts";
import { createSlots, type Held } from "./slots.ts";

/** How often a worker with free slots asks for bells: what NOTIFY did not tell it. Jittered, so that workers do not ask together. */
const POLL_MS = 1_000;
const JITTER = 0.25;
/** The floor under NOTIFY and bells, both of which may be lost: idle workers claim anyway. */
const CLAIM_ANYWAY_MS = 5_000;
/** What is left by workers that cannot take it now is asked for again after this. */
const RING_AGAIN_MS = 1_000;
const CLAIM = "sluice.claim_1";
const ERROR_PAUSE_MS = 500;
const WATCHDOG_MS = 500;
/** So long what was claimed ahead may wait for its slot; then others may have it. */
const MAX_WAIT_MS = 500;

export type WorkerLoop = {
  run(): Promise<void>;
  /** Something may be there to claim: in this lane, for the worker of this name, or anywhere. */
  wake(name?: string): void;
  /** Slots of this worker fell free in these lanes for what it may claim without admission. */
  claimable(lanes: readonly string[]): void;
  heartbeat(): Promise<void>;
  /** There is a free slot of the class. */
  hasRoom(slotClass: SlotClass): boolean;
  /** Stops claiming, gives running attempts `graceMs`, then kills them and hands them back. */
  drain(graceMs: number): Promise<void>;
};

export function createWorkerLoop(options: {
  tools: AttemptTools;
  worker: WorkerRef;
  queues: readonly string[];
  slots: Record<SlotClass, number>;
  logs: LogWriter;
  finisher: Finisher;
  duties: Duties;
  /** Tokens of claims whose answer never came; what they took is handed back at the next heartbeat. */
  unheard: string[];
  heart: Heart;
  protocol: ProtocolGuard;
  /** Why no task can be started here now, from memory: while there is a reason, the worker claims nothing. */
  trouble?: () => string | undefined;
  /** How often the worker claims although nothing has told it to. */
  claimAnywayMs?: number;
  /** Another process has taken this worker's name. */
  onReplaced: () => void;
}): WorkerLoop {
  const { tools, worker, heart, protocol, claimAnywayMs = CLAIM_ANYWAY_MS, trouble = NO_TROUBLE } = options;
  const { deps } = tools;
  const draining = new AbortController();
  let woken = Promise.withResolvers<void>();
  let looping: Promise<void> = Promise.resolve();
  let stopped = false;
  /** How much this worker claims ahead, as it last told others, and as they know for certain. */
  let published: Record<SlotClass, number> = { process: 0, function: 0, inline: 0 };
  let told = { ...published };

  const lanes = lanesOf(options.queues);
  /** Slot classes with something to claim, perhaps. */
  const asked = new Set<SlotClass>(SLOT_CLASSES);
  /** Those of them whose slots fell free without a pass, because this worker may claim for them. */
  const promised = new Set<SlotClass>();
  /** Bells that this worker has silenced: it rings them again if it leaves work. */
  const silenced = new Set<string>();
  let claimedAllAt = performance.now();

  const stir = (): void => {
    woken.resolve();
    woken = Promise.withResolvers();
  };

  /** Of a lane, that class; of this worker's own name or without one, all of them. */
  const ask = (name?: string): boolean => {
    const isForAll = name === undefined || name === ownName(worker.id);
    const classes = isForAll ? SLOT_CLASSES : lanes.filter((lane) => laneName(lane) === name).map((l) => l.slotClass);
    for (const slotClass of classes) asked.add(slotClass);
    return classes.length > 0;
  };

  const wake = (name?: string): void => {
    if (ask(name)) stir();
  };

  /** The lease has not been confirmed for so long that it may be over before this worker knows. */
  const isOverdue = (): boolean => heart.age() > SELF_FENCE_MS;

  const slots = createSlots({
    tools,
    slots: options.slots,
    logs: options.logs,
    finisher: options.finisher,
    told: (slotClass) => told[slotClass],
    mayContinue: () => protocol.trouble() === undefined && trouble() === undefined,
    onRoom: stir,
    onUnbegun: (token) => void giveBack([token]),
  });

  /** Lanes of one class share its slots: each time another one comes first. */
  let turn = 0;
  const queuesInTurn = (): string[] => {
    const first = turn % options.queues.length;
    return [...options.queues.slice(first), ...options.queues.slice(0, first)];
  };

  const claimFor = async (slotClass: SlotClass, tokens: readonly string[]): Promise<Claims> => {
    try {
      const claims = await claim(deps, worker, { queues: queuesInTurn(), slotClass }, tokens);
      protocol.worked(CLAIM);
      return claims;
    } catch (error) {
      protocol.failed(CLAIM, error);
      throw error;
    }
  };

  const claimClass = async (slotClass: SlotClass): Promise<void> => {
    if (!asked.has(slotClass)) return;
    const room = slots.room(slotClass);
    if (room === 0) return ringAgain(slotClass, options.queues, true);
    asked.delete(slotClass);
    const wasPromised = promised.delete(slotClass);
    const tokens = Array.from({ length: room }, deps.newToken);
    try {
      const { claimed, leftIn } = await claimFor(slotClass, tokens);
      for (const attempt of claimed) slots.add(attempt, slotClass);
      const isFull = claimed.length === room;
      // More may be left; it is claimed when there is room again.
      if (isFull) asked.add(slotClass);
      // Something else has become ready since, or nothing is left: then it is for a pass.
      else if (wasPromised) void deps.requestAdmission();
      ringAgain(slotClass, leftIn, isFull);
    } catch (error) {
      // Its commit may have been done and only the answer lost.
      options.unheard.push(...tokens);
      asked.add(slotClass);
      if (wasPromised) promised.add(slotClass);
      throw error;
    }
  };

  /**
   * What this worker leaves is for others: at once when it has silenced the bell and has no more room, and later when
   * it could not take what is there, because another transaction holds it.
   */
  const ringAgain = (slotClass: SlotClass, leftIn: readonly string[], isFull: boolean): void => {
    const left = leftIn.map((queue) => laneName({ queue, slotClass }));
    if (isFull) deps.queue.bells.ring(left.filter((name) => silenced.has(name)));
    else deps.queue.bells.ring(left, RING_AGAIN_MS);
    for (const queue of options.queues) silenced.delete(laneName({ queue, slotClass }));
  };

  /** Asks the bells of the lanes for which there are free slots; now and then it claims whatever they say. */
  const poll = async (): Promise<void> => {
    const free = lanes.filter((lane) => slots.room(lane.slotClass) > 0).map(laneName);
    if (free.length === 0) return;
    if (performance.now() - claimedAllAt >= claimAnywayMs) {
      claimedAllAt = performance.now();
      return void ask();
    }
    // Committed when it returns: what was admitted before a bell was rung is in the claim's snapshot.
    for (const name of await deps.queue.bells.fetch([...free, ownName(worker.id)])) {
      silenced.add(name);
      ask(name);
    }
  };

  /** Tells admission how much this worker claims ahead, when it has changed and before it does; one at a time, so that the last one counts. */
  let publishing: Promise<void> = Promise.resolve();
  const publishAhead = (): Promise<void> => {
    publishing = publishing.catch(() => undefined).then(publish);
    return publishing;
  };

  const publish = async (): Promise<void> => {
    const ahead = { process: slots.ahead("process"), function: slots.ahead("function"), inline: 0 };
    const isTold = (slotClass: SlotClass): boolean =>
      ahead[slotClass] <= told[slotClass] && !isMuchLess(ahead[slotClass], published[slotClass]);
    if (SLOT_CLASSES.every(isTold)) return;
    // The answer may be lost: then it is not known which of the two the others know.
    for (const slotClass of SLOT_CLASSES) told[slotClass] = Math.min(told[slotClass], ahead[slotClass]);
    await setWorkerAhead(deps.pool, worker, ahead);
    published = ahead;
    told = { ...ahead };
    // Not waited for: it is others' work as well.
    void deps.requestAdmission();
  };

  const unheard = createUnheard({
    inbox: options.unheard,
    keepMs: LEASE_MS,
    handBack: (tokens) => handBackUnheard(deps, worker, tokens),
    onError: (error) =>
      deps.log.warn({ error: messageOf(error) }, "could not give attempts back; trying again at the next heartbeat"),
  });

  const heartbeat = async (): Promise<void> => {
    if (stopped) return;
    const known = [...slots.held.values()];
    // Not waited for: it waits for locks.
    void unheard.giveBack();
    const beat = await heart.beat(known.map(tokenOf));
    protocol.check(beat.protocol);
    if (beat.workerState === undefined) options.onReplaced();
    for (const slotClass of beat.assigned) asked.add(slotClass);
    if (beat.assigned.length > 0) stir();
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

  /** What the database has been told of this worker's trouble. */
  let saidTrouble: string | undefined;

  /** Tells the database what keeps this worker from starting tasks, or that nothing does any more; true while it does. */
  const isInTrouble = async (): Promise<boolean> => {
    const why = trouble();
    if (why !== saidTrouble) {
      await setWorkerTrouble(deps.pool, worker, why ?? null);
      saidTrouble = why;
      if (why === undefined) deps.log.info({}, "tasks can be started again; claiming");
      else deps.log.error({ trouble: why }, "no task can be started here; claiming none until one can");
      // What was meant for this worker is for others, or there is room here again.
      deps.queue.bells.ring([...silenced]);
      silenced.clear();
      void deps.requestAdmission();
      if (why === undefined) ask();
    }
    if (why !== undefined) await giveBack(slots.giveUp(Number.POSITIVE_INFINITY));
    return why !== undefined;
  };

  const loop = async (): Promise<void> => {
    while (!draining.signal.aborted) {
      const next = woken.promise;
      try {
        // Fenced would be at once what is claimed under a lease that nobody has confirmed.
        if (isOverdue()) await heartbeat();
        if (protocol.trouble() !== undefined) {
          // Claims nothing, and shows whether the function is back.
          await claimFor("inline", []);
          await isIdle(next);
          continue;
        }
        if (await isInTrouble()) {
          options.duties.done("claim");
          await isIdle(next);
          continue;
        }
        turn++;
        await allDone([...SLOT_CLASSES.map(claimClass), publishAhead()]);
        options.duties.done("claim");
        if (asked.values().some((slotClass) => slots.room(slotClass) > 0)) continue;
        if (await isIdle(next)) await poll();
      } catch (error) {
        deps.log.warn({ error: messageOf(error) }, "could not claim; trying again");
        await delay(ERROR_PAUSE_MS);
      }
    }
  };

  /** True when nothing has woken the worker until it is time to poll. */
  const isIdle = (next: Promise<void>): Promise<boolean> =>
    new Promise((resolve) => {
      const pollMs = POLL_MS * (1 + JITTER * (2 * Math.random() - 1));
      // Not one that is aborted: it would make an error with its stack at each start of a task.
      const timer = setTimeout(resolve, pollMs, true);
      void next.then(() => {
        clearTimeout(timer);
        resolve(false);
      });
    });

  return {
    wake,
    claimable(names) {
      const mine = lanes.filter((lane) => names.includes(laneName(lane)));
      const isTaking = !draining.signal.aborted && protocol.trouble() === undefined && trouble() === undefined;
      // What this worker does not claim is for others.
      if (!isTaking || mine.length < names.length) void deps.requestAdmission();
      for (const { slotClass } of isTaking ? mine : []) {
        promised.add(slotClass);
        asked.add(slotClass);
      }
      stir();
    },
    run() {
      looping = loop();
      return looping;
    },
    heartbeat,
    hasRoom: (slotClass) => slots.room(slotClass) > 0,
    async drain(graceMs) {
      draining.abort();
      slots.close();
      wake();
      // After this no turn of the loop begins, and one that has begun may still say that the worker is active again.
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
      protocol.stop();
      await unheard.giveBack();
      // What cannot be given back now, the sweep gives back: the worker has stopped.
      await handBack(deps, worker).catch((error: unknown) =>
        deps.log.warn({ error: messageOf(error) }, "could not give all attempts back; a scheduler will"),
      );
      // For what this worker leaves, also of a bell that it silenced and whose lane it did not come to claim from.
      deps.queue.bells.ring(lanes.map(laneName));
      await setWorkerState(deps.pool, worker, "stopped");
      await deps.notifier.flush();
    },
  };
}

const NO_TROUBLE = (): undefined => undefined;

function tokenOf({ claimed }: Held): Attempts[number] {
  return { taskInstanceId: claimed.taskInstanceId, token: claimed.token };
}

/** Waits for all, also when one has failed: what is left behind would claim beside the next pass. */
async function allDone(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

/** Each step up is told, or it could not be claimed. Not each step down is worth a statement. */
function isMuchLess(now: number, told: number): boolean {
  return told > 0 && told >= 4 * now;
}
