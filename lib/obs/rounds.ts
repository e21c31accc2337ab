import { stat } from "node:fs/promises";
import { createRunningClock } from "./running-clock.ts";

/** How long a round may take before it counts as failed. */
const WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 250;

/**
 * Makes of `run`, one useful round through something that may hang, a duty that never does: it throws
 * when the round has not come back after ten seconds in which this process ran. None is begun beside one that
 * has not come back; that one is waited for again.
 */
export function boundedRound(
  run: () => Promise<unknown>,
  { withinMs = WITHIN_MS, clock = createRunningClock() }: { withinMs?: number; clock?: () => number } = {},
): () => Promise<void> {
  let going: { done: Promise<unknown>; sinceMs: number } | undefined;
  const begin = (): { done: Promise<unknown>; sinceMs: number } => {
    const done = run().finally(() => (going = undefined));
    // Its error is that of the next wait, if one waits.
    done.catch(() => undefined);
    return { done, sinceMs: clock() };
  };
  return async () => {
    const round = (going ??= begin());
    const late = Promise.withResolvers<never>();
    const beganMs = clock();
    const look = setInterval(() => {
      if (clock() - beganMs < withinMs) return;
      late.reject(new Error(`it has not come back for ${Math.round((clock() - round.sinceMs) / 1_000)} s`));
    }, LOOK_EVERY_MS);
    try {
      await Promise.race([round.done, late.promise]);
    } finally {
      clearInterval(look);
    }
  };
}

/** A round through the thread pool of this process: files, names and passwords are nothing without it. */
export const throughThreadPool = (folder = "."): Promise<unknown> => stat(folder);

/** Throws when a connection that hears of changes has not answered for so long that two of its probes were late. */
export function requireHeard(ageMs: number): void {
  if (ageMs > MAX_LISTENER_AGE_MS) throw new Error(`it was last heard of ${Math.round(ageMs / 1_000)} s ago`);
}

const MAX_LISTENER_AGE_MS = 15_000;
