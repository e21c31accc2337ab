import type { Log } from "#lib/domain/log.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { Duties } from "./duties.ts";
import type { DutyMetrics } from "./duty-metrics.ts";

/** How many intervals a duty may be late before the process no longer counts as ready. */
const LATE_FACTOR = 5;
const MIN_MAX_AGE_MS = 10_000;
/** What failed is tried again after this, when its interval is longer. */
const RETRY_MS = 1_000;

/**
 * What a duty may return to be done again sooner than its interval says. An object, because a count that a duty happens to return
 * must not be taken for a time: one of 0 would have it done without a pause.
 */
export type Sooner = { againInMs: number | undefined };

/** `wake` has the duty done at once, or once more when it is just being done. */
export type Every = { name: string; start(): Promise<void>; stop(reason?: unknown): Promise<void>; wake(): void };

/**
 * A duty done again and again, `everyMs` after the last time ended, or sooner when `run` returns in how many milliseconds. An
 * error is logged and the duty goes on; only a time without error counts as done.
 */
export function everyService(options: {
  name: string;
  everyMs: number;
  /** Without it the process takes no work. */
  isNeeded?: boolean;
  duties: Duties;
  metrics?: DutyMetrics | undefined;
  log: Log;
  run: () => Promise<Sooner | void>;
}): Every {
  const stopping = new AbortController();
  let isWoken = false;
  let resume = (): void => undefined;
  let loop: Promise<void> | undefined;

  const wake = (): void => {
    isWoken = true;
    resume();
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      if (isWoken || stopping.signal.aborted) return resolve();
      // A timer may go off a little early: a moment later finds due what it was set for.
      const timer = setTimeout(resolve, Math.ceil(Math.max(0, ms)));
      resume = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  let said: string | undefined;
  const turn = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      isWoken = false;
      let waitMs = options.everyMs;
      const began = performance.now();
      const ended = (outcome: "done" | "failed"): void =>
        options.metrics?.ended(options.name, outcome, (performance.now() - began) / 1_000);
      try {
        const sooner = await options.run();
        waitMs = Math.min(waitMs, sooner?.againInMs ?? waitMs);
        options.duties.done(options.name);
        said = undefined;
        ended("done");
      } catch (error) {
        waitMs = Math.min(waitMs, RETRY_MS);
        options.duties.failed(options.name, messageOf(error));
        ended("failed");
        // Once: a disk that is full would be filled by what says so.
        if (messageOf(error) !== said)
          options.log.warn({ duty: options.name, error: messageOf(error) }, "a duty failed; it will be tried again");
        said = messageOf(error);
      }
      await pause(waitMs);
    }
  };

  return {
    name: options.name,
    async start() {
      const { name, everyMs, isNeeded } = options;
      options.duties.register(name, Math.max(MIN_MAX_AGE_MS, LATE_FACTOR * everyMs), { isNeeded });
      loop ??= turn();
    },
    async stop() {
      stopping.abort();
      wake();
      await loop;
    },
    wake,
  };
}
