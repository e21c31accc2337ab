/** Node keeps the delay of a timer in 31 bits; one that is longer fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Acts after `ms`, however long that is, unless the function that it returns is called before. The process does not stay for it. */
export function afterLong(ms: number, act: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (left: number): void => {
    const now = Math.min(left, MAX_TIMER_MS);
    timer = setTimeout(() => (left > now ? wait(left - now) : act()), now);
    timer.unref();
  };
  wait(ms);
  return () => clearTimeout(timer);
}

/** A signal that aborts after `ms`, however long that is, unless `clear` is called before. */
export function timeoutSignal(ms: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController();
  const clear = afterLong(ms, () => controller.abort(new DOMException("The time is over.", "TimeoutError")));
  return { signal: controller.signal, clear };
}
