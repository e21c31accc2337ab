/** Node keeps the delay of a timer in 31 bits; one that is longer fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A signal that aborts after `ms`, however long that is, unless `clear` is called before. */
export function timeoutSignal(ms: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout;
  const wait = (left: number): void => {
    const now = Math.min(left, MAX_TIMER_MS);
    timer = setTimeout(() => {
      if (left > now) wait(left - now);
      else controller.abort(new DOMException("The time is over.", "TimeoutError"));
    }, now);
    timer.unref();
  };
  wait(ms);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
