import { MAX_AHEAD } from "#lib/domain/lookahead.ts";

const MIN_SAMPLES = 8;
const MAX_SAMPLES = 32;

/**
 * How many attempts a worker may claim before it has slots for them, so that slots of short tasks are not idle while
 * the next are fetched: as many as its slots finish in a round, `roundMs`. For tasks that take longer than that it is
 * none, and what goes next is decided as late as can be.
 */
export type Lookahead = {
  /** Powers of two, so that it does not change all the time. */
  ahead(): number;
  /** A task took so long. The median of the last few counts: one slow start does not make short tasks long. */
  record(durationMs: number): void;
  /** What was claimed ahead has waited too long: tasks are not short any more. */
  forget(): void;
};

export function createLookahead(slots: number, roundMs: number): Lookahead {
  let durations: number[] = [];
  let ahead = 0;
  return {
    ahead: () => ahead,
    record(durationMs) {
      durations = [...durations.slice(1 - MAX_SAMPLES), durationMs];
      if (durations.length < MIN_SAMPLES) return;
      const median = durations.toSorted((a, b) => a - b)[durations.length >> 1]!;
      const wanted = Math.min(MAX_AHEAD, (slots * roundMs) / Math.max(median, 0.01));
      ahead = wanted < 1 ? 0 : 2 ** Math.floor(Math.log2(wanted));
    },
    forget() {
      durations = [];
      ahead = 0;
    },
  };
}
