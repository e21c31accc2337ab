import { setTimeout as delay } from "node:timers/promises";

export type RunWake = {
  /** Resolves at the next change of the run (also one since the last call), after `maxMs`, or when stopped. */
  next(maxMs: number): Promise<void>;
  stop(): void;
};

/** Turns change notices into something a loop can wait for without losing one. */
export function runWake(
  changes: { subscribe(runId: string, onChange: () => void): () => void },
  runId: string,
  stop: AbortSignal,
): RunWake {
  let changed = false;
  let ring: (() => void) | undefined;
  const unsubscribe = changes.subscribe(runId, () => {
    changed = true;
    ring?.();
  });
  return {
    async next(maxMs) {
      const timer = new AbortController();
      if (!changed && !stop.aborted) {
        const rung = new Promise<void>((resolve) => (ring = resolve));
        const signal = AbortSignal.any([stop, timer.signal]);
        await Promise.race([rung, delay(maxMs, undefined, { signal }).catch(() => undefined)]);
        timer.abort();
      }
      changed = false;
    },
    stop: unsubscribe,
  };
}
