/** A tick; how finely the time is counted. */
const TICKS = 20;

/**
 * Calls `late` once this process has run for so long, unless the function that it returns is called before. Time in which the process stood
 * still or was busy counts as one tick: what came meanwhile has not been heard yet, and is not late.
 */
export function afterRunning(ms: number, late: () => void): () => void {
  let left = TICKS;
  const timer = setInterval(() => {
    if (--left > 0) return;
    clearInterval(timer);
    late();
  }, ms / TICKS);
  return () => clearInterval(timer);
}
