export type Gate = {
  /** Too many wait already: the next one would be refused. */
  isFull(): boolean;
  /** Does the work when there is room for it; undefined, and nothing is done, when too many wait already. */
  enter<T>(work: () => Promise<T>): Promise<T> | undefined;
};

/** Lets `atOnce` pieces of work go on at a time, in the order in which they came, and at most `maxWaiting` wait. */
export function createGate(atOnce: number, maxWaiting: number): Gate {
  let inside = 0;
  const waiting: (() => void)[] = [];
  const isFull = (): boolean => waiting.length >= maxWaiting;
  const pass = async <T>(work: () => Promise<T>): Promise<T> => {
    if (inside < atOnce) inside++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // Its place is handed on.
      if (next === undefined) inside--;
      else next();
    }
  };
  return { isFull, enter: (work) => (isFull() ? undefined : pass(work)) };
}
