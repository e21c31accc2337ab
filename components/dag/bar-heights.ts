/** Shortest bar in per cent: less could not be clicked. */
const MIN_PERCENT = 25;

/** Heights in per cent of the longest duration. */
export function barHeights(durations: readonly number[]): number[] {
  const longest = Math.max(1, ...durations);
  return durations.map((duration) => Math.round(MIN_PERCENT + (100 - MIN_PERCENT) * (Math.max(0, duration) / longest)));
}
