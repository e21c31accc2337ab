import type { Log } from "#lib/domain/log.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { Duties } from "./health.ts";
import type { Service } from "./lifecycle.ts";

/** How many intervals a duty may be late before the process no longer counts as ready. */
const LATE_FACTOR = 5;
const MIN_MAX_AGE_MS = 10_000;

/**
 * A duty done again and again, `everyMs` after the last time ended. An error is logged and the duty goes on;
 * only a time without error counts as done. `wake` does it at once.
 */
export function everyService(options: {
  name: string;
  everyMs: number;
  duties: Duties;
  log: Log;
  run: () => Promise<void>;
}): Service & { wake(): void } {
  const stopping = new AbortController();
  let wake = (): void => undefined;
  let loop: Promise<void> | undefined;

  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, options.everyMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (stopping.signal.aborted) wake();
    });

  const turn = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await options.run();
        options.duties.done(options.name);
      } catch (error) {
        options.log.warn({ duty: options.name, error: messageOf(error) }, "a duty failed; it will be tried again");
      }
      await pause();
    }
  };

  return {
    name: options.name,
    async start() {
      options.duties.register(options.name, Math.max(MIN_MAX_AGE_MS, LATE_FACTOR * options.everyMs));
      loop ??= turn();
    },
    async stop() {
      stopping.abort();
      wake();
      await loop;
    },
    wake: () => wake(),
  };
}
