/** How long the DAG's runs took, those that succeeded last. */
export type History = { runs: number; medianMs: number; p90Ms: number };

/** How long so many runs will take when each takes as long as those before. */
export type Estimate = { usualMs: number; slowMs: number; fromRuns: number };

/** Undefined without a history. */
export function estimateOf(runs: number, maxActive: number, history: History): Estimate | undefined {
  if (history.runs === 0) return undefined;
  const rounds = Math.ceil(runs / maxActive);
  return { usualMs: rounds * history.medianMs, slowMs: rounds * history.p90Ms, fromRuns: history.runs };
}

export type Pace = {
  /** Of its runs that have ended well or badly. */
  meanRunMs: number | null;
  queued: number;
  running: number;
  maxActive: number;
};

/** How much longer it takes at the pace so far: runs that go on are half done on average. Undefined while none has ended. */
export function remainingMs({ meanRunMs, queued, running, maxActive }: Pace): number | undefined {
  if (queued + running === 0) return 0;
  if (meanRunMs === null) return undefined;
  return (meanRunMs * (queued + running / 2)) / Math.min(maxActive, queued + running);
}
