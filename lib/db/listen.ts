import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Channel } from "./notify.ts";
import { type Addresses, proveSession, SessionAddressError } from "./session-address.ts";

/** How often an idle LISTEN connection is proved to be alive; a half-open one would hear nothing for ever. */
const PROBE_MS = 5_000;
const RECONNECT_MS = 500;
/**
 * How often a connection that answers is proved again to be in the pool's database: after a failover it
 * may still be one to the old server.
 */
const PROVE_MS = 60_000;

export type Listener = {
  /** Milliseconds since the connection last answered, proved to be in the pool's database. */
  age(): number;
  stop(): Promise<void>;
};

/** What to do with each value that is announced on these channels. */
export type Hears = Partial<Record<Channel, (value: string) => void>>;

/**
 * Hears channels on a connection of its own and reconnects when it breaks. `onReconnect` runs after each
 * (re)connect: what was announced meanwhile is lost, so the receiver looks for itself. Each new
 * connection first proves that it hears the pool's database, and again every `proveMs`: one that does
 * not is an error, as one that breaks is.
 */
export function listen(options: {
  addresses: Addresses;
  hears: Hears;
  onReconnect: () => void;
  onError: (error: unknown) => void;
  proveMs?: number;
}): Listener {
  const { addresses, proveMs = PROVE_MS } = options;
  const closing = new AbortController();
  const hears = new Map(Object.entries(options.hears));
  let answeredAt = performance.now();
  const stopped = once(closing.signal, "abort").then(() => Promise.reject(new Error("stopped")));
  stopped.catch(() => undefined);

  const connection = async (): Promise<void> => {
    const client = new pg.Client({
      connectionString: addresses.sessionUrl,
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
      await Promise.race([proveSession(client, addresses), lost.promise, stopped]);
      let provedAt = performance.now();
      answeredAt = provedAt;
      options.onReconnect();
      while (!closing.signal.aborted) {
        await Promise.race([delay(Math.min(PROBE_MS, proveMs), undefined, { signal: closing.signal }), lost.promise]);
        await Promise.race([client.query("select 1"), lost.promise]);
        if (performance.now() - provedAt >= proveMs) {
          await Promise.race([proveSession(client, addresses).catch(unlessRefuted), lost.promise, stopped]);
          provedAt = performance.now();
        }
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

/** A pool that has no answer just now proves nothing about a connection that has one. */
function unlessRefuted(error: unknown): void {
  if (error instanceof SessionAddressError) throw error;
}
