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

/** The server's time, four times a second: `serverNow` corrects for a browser clock that goes wrong. */
export function useNowMs(serverNow: string): number {
  const serverNowMs = Date.parse(serverNow);
  const [skewMs] = useState(() => Date.now() - serverNowMs);
  const snapshot = (): number => Math.floor((Date.now() - skewMs) / TICK_MS) * TICK_MS;
  return useSyncExternalStore(subscribe, snapshot, () => serverNowMs);
}
