import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Channel } from "./notify.ts";

/** How often an idle LISTEN connection is proved to be alive; a half-open one would hear nothing for ever. */
const PROBE_MS = 5_000;
const RECONNECT_MS = 500;

export type Listener = {
  /** Milliseconds since the connection last answered. */
  age(): number;
  stop(): Promise<void>;
};

/** What to do with each value that is announced on these channels. */
export type Hears = Partial<Record<Channel, (value: string) => void>>;

/**
 * Hears channels on a connection of its own and reconnects when it breaks. `onReconnect` runs after each
 * (re)connect: what was announced meanwhile is lost, so the receiver looks for itself.
 */
export function listen(options: {
  url: string;
  hears: Hears;
  onReconnect: () => void;
  onError: (error: unknown) => void;
}): Listener {
  const closing = new AbortController();
  const hears = new Map(Object.entries(options.hears));
  let answeredAt = performance.now();

  const connection = async (): Promise<void> => {
    const client = new pg.Client({
      connectionString: options.url,
      application_name: "sluice-listen",
      connectionTimeoutMillis: PROBE_MS,
      query_timeout: PROBE_MS,
      keepAlive: true,
    });
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => undefined);
    client.on("error", lost.reject);
    client.on("end", () => lost.reject(new Error("the listening connection was closed")));
    client.on("notification", ({ channel, payload }) => {
      const onValue = hears.get(channel);
      if (onValue !== undefined) payload?.split(",").forEach((value) => onValue(value));
    });
    try {
      await client.connect();
      await client.query([...hears.keys()].map((channel) => `listen ${channel}`).join("; "));
      answeredAt = performance.now();
      options.onReconnect();
      while (!closing.signal.aborted) {
        await Promise.race([delay(PROBE_MS, undefined, { signal: closing.signal }), lost.promise]);
        await Promise.race([client.query("select 1"), lost.promise]);
        answeredAt = performance.now();
      }
    } finally {
      await client.end().catch(() => undefined);
    }
  };

  const running = (async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        await connection();
      } catch (error) {
        if (closing.signal.aborted) return;
        options.onError(error);
        await delay(RECONNECT_MS, undefined, { signal: closing.signal }).catch(() => undefined);
      }
    }
  })();

  return {
    age: () => performance.now() - answeredAt,
    async stop() {
      closing.abort();
      await running;
    },
  };
}
