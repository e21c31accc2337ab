/**
 * Work that is asked for more often than it is worth doing: one pass runs and one waits, and every call resolves
 * with a pass that began after the call. Passes of different keys do not wait for each other.
 */
export function coalescing<Owner extends object, Result>(
  pass: (owner: Owner, key: string) => Promise<Result>,
): (owner: Owner, key: string) => Promise<Result> {
  type Passes = { running: Promise<Result>; next?: Promise<Result> };
  const passes = new WeakMap<Owner, Map<string, Passes>>();

  const start = async (owner: Owner, key: string): Promise<Result> => {
    const byKey = passes.get(owner) ?? new Map<string, Passes>();
    passes.set(owner, byKey);
    const entry: Passes = { running: pass(owner, key) };
    byKey.set(key, entry);
    try {
      return await entry.running;
    } finally {
      if (byKey.get(key) === entry && !entry.next) byKey.delete(key);
    }
  };

  return (owner, key) => {
    const current = passes.get(owner)?.get(key);
    if (!current) return start(owner, key);
    // A pass that failed has failed for those who waited for it; the next one begins all the same.
    current.next ??= current.running.then(
      () => start(owner, key),
      () => start(owner, key),
    );
    return current.next;
  };
}
