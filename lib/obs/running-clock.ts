/** How finely the time is counted. */
const TICK_MS = 250;
/** What one tick may count: some of a busy machine's delay, and nothing of a standstill. */
const MOST_MS = 1_000;

/**
 * A clock of the milliseconds in which this process ran. Time in which it stood still (SIGSTOP, a machine
 * that slept) counts as a second at most: what came meanwhile has not been heard yet, and is not late.
 */
export function createRunningClock(nowMs: () => number = () => performance.now()): () => number {
  let ranMs = 0;
  let lastMs = nowMs();
  const tick = (): number => {
    const now = nowMs();
    ranMs += Math.min(MOST_MS, now - lastMs);
    lastMs = now;
    return ranMs;
  };
  setInterval(tick, TICK_MS).unref();
  return tick;
}
