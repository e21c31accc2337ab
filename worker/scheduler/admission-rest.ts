/** What is asked for meanwhile waits so long at most. */
const MAX_REST_MS = 50;
/** A pass costs about as much as it costs to run so many tasks that do nothing. */
const WORTHWHILE = 32;
const LONG_REST = 4;

/**
 * How long the leader of admission rests after a pass: as long as the pass took, so that it never takes all of a
 * processor; and longer when it handed over few, because each pass costs the same, and those that end meanwhile are
 * handed over together.
 */
export function restAfter(passMs: number, admitted: number): number {
  return Math.min(MAX_REST_MS, passMs * (admitted < WORTHWHILE ? LONG_REST : 1));
}
