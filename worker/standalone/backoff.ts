const FIRST_MS = 200;
const MAX_MS = 10_000;
/** Longer than the longest wait: a child that crashes at every start never looks healthy. */
const HEALTHY_MS = 30_000;

/** How long to wait before the next start of something that lived for `livedMs`. */
export function nextBackoffMs(previousMs: number | undefined, livedMs: number): number {
  if (previousMs === undefined || livedMs >= HEALTHY_MS) return FIRST_MS;
  return Math.min(2 * previousMs, MAX_MS);
}
