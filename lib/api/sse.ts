import { setTimeout as delay } from "node:timers/promises";

const HEARTBEAT_MS = 15_000;
const RETRY_MS = 1_000;

export type ServerEvent = { event: string; data: unknown; id?: string };
export type Send = (event: ServerEvent) => Promise<void>;

/**
 * A `text/event-stream` answer. It ends when `stillAllowed`, asked at each heartbeat, says no. `produce` sends until it returns or `stop` aborts: the reader is gone, or the
 * process ends (then the browser reconnects, to whoever serves next).
 */
export function eventStream(
  signals: AbortSignal[],
  stillAllowed: () => Promise<boolean>,
  produce: (send: Send, stop: AbortSignal) => Promise<void>,
  heartbeatMs = HEARTBEAT_MS,
): Response {
  const gone = new AbortController();
  const stop = AbortSignal.any([...signals, gone.signal]);
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  const write = async (text: string): Promise<void> => {
    await writer.ready;
    await writer.write(encoder.encode(text));
  };
  void writer.closed.catch(() => undefined).then(() => gone.abort());
  const work = async (): Promise<void> => {
    try {
      await write(`retry: ${RETRY_MS}\n\n`);
      await Promise.race([
        produce((event) => write(format(event)), stop),
        beating(write, stop, stillAllowed, heartbeatMs),
      ]);
    } finally {
      gone.abort();
      await writer.close();
    }
  };
  // A write that fails only says that the reader is gone.
  void work().catch(() => gone.abort());
  return new Response(readable, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    },
  });
}

/** Comments keep proxies from closing a quiet stream, and find out that a reader is gone. */
async function beating(
  write: (text: string) => Promise<void>,
  stop: AbortSignal,
  stillAllowed: () => Promise<boolean>,
  heartbeatMs: number,
): Promise<void> {
  while (!stop.aborted) {
    await delay(heartbeatMs, undefined, { signal: stop }).catch(() => undefined);
    if (stop.aborted || !(await stillAllowed())) return;
    await write(": still here\n\n");
  }
}

function format({ event, data, id }: ServerEvent): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
