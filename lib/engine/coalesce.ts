/** Runs `pass` for a key: see `createCoalesce`. */
export type Coalesce = <Result>(key: string, pass: () => Promise<Result>) => Promise<Result>;

/**
 * For work that is asked for more often than it is worth doing. For each key one pass runs and at most
 * one waits; every call resolves with a pass that began after the call. A key stands for one kind of
 * pass: its callers share results. Passes of different keys do not wait for each other.
 */
export function createCoalesce(): Coalesce {
  type Passes = { running: Promise<unknown>; next?: Promise<unknown> };
  const passes = new Map<string, Passes>();

  const start = async (key: string, pass: () => Promise<unknown>): Promise<unknown> => {
    const entry: Passes = { running: pass() };
    passes.set(key, entry);
    try {
      return await entry.running;
    } finally {
      if (passes.get(key) === entry && !entry.next) passes.delete(key);
    }
  };

  return <Result>(key: string, pass: () => Promise<Result>) => {
    const current = passes.get(key);
    if (!current) return start(key, pass) as Promise<Result>;
    // A pass that failed has failed for its own callers; the next one starts all the same.
    current.next ??= current.running.then(
      () => start(key, pass),
      () => start(key, pass),
    );
    return current.next as Promise<Result>;
  };
}
