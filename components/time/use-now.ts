import { useState, useSyncExternalStore } from "react";

const TICK_MS = 250;

/** One timer for everything on the page that counts. */
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => listeners.forEach((tick) => tick()), TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/**
 * The server's time, four times a second, or less often when what is shown is coarser: `serverNow` corrects for a browser
 * clock that goes wrong.
 */
export function useNowMs(serverNow: string, stepMs: number = TICK_MS): number {
  const serverNowMs = Date.parse(serverNow);
  const [skewMs] = useState(() => Date.now() - serverNowMs);
  const snapshot = (): number => Math.floor((Date.now() - skewMs) / stepMs) * stepMs;
  return useSyncExternalStore(subscribe, snapshot, () => serverNowMs);
}
