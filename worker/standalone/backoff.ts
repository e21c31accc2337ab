const FIRST_MS = 200;
const MAX_MS = 10_000;
/** Longer than the longest wait: what crashes at every start never looks healthy. */
const HEALTHY_MS = 30_000;

/** How often in a row something has ended too soon, and how long to wait before it is started again. */
export type Ends = { count: number; waitMs: number };

/**
 * One end more, of what lived for `livedMs`. The first end in a while is a fault like any other, and its start is not put
 * off; only what ends again and again is waited for, longer each time.
 */
export function oneMoreEnd(before: Ends | undefined, livedMs: number): Ends {
  const count = before === undefined || livedMs >= HEALTHY_MS ? 1 : before.count + 1;
  return { count, waitMs: count === 1 ? 0 : Math.min(FIRST_MS * 2 ** (count - 2), MAX_MS) };
}

/** What ended, when it is started again, and why it is waited for if it is. */
export function restartLine(name: string, how: string, { count, waitMs }: Ends): string {
  if (waitMs === 0) return `${name} ended (${how}); starting it again`;
  return `${name} ended (${how}), ${count} times in a row before it had run for ${HEALTHY_MS / 1000} s; starting it again in ${waitMs / 1000} s`;
}
