import type pg from "pg";

/** `sluice_tasks`: names of lanes with new work. `sluice_runs`: ids of runs whose state or logs changed. */
export type Channel = "sluice_tasks" | "sluice_runs";

/** Postgres refuses a payload of 8,000 bytes or more. */
const MAX_PAYLOAD = 7_900;

/** Collects what to announce and sends it in one small transaction of its own, after the commit it speaks of. */
export type Notifier = {
  /** Asks for an announcement; returns at once. Doubled values are sent once. */
  announce(channel: Channel, values: Iterable<string>): void;
  /** Resolves when everything announced so far was sent (or could not be: receivers poll as well). */
  flush(): Promise<void>;
};

export function createNotifier(pool: pg.Pool, onError: (error: unknown) => void): Notifier {
  const pending = new Map<Channel, Set<string>>();
  let sending: Promise<void> | undefined;

  const send = async (): Promise<void> => {
    while (pending.size > 0) {
      const messages = [...pending].flatMap(([channel, values]) =>
        payloads(values).map((payload) => ({ channel, payload })),
      );
      pending.clear();
      try {
        await pool.query({
          name: "notify",
          text: "select pg_notify(c, p) from unnest($1::text[], $2::text[]) m(c, p)",
          values: [messages.map((m) => m.channel), messages.map((m) => m.payload)],
        });
      } catch (error) {
        onError(error);
      }
    }
    sending = undefined;
  };

  return {
    announce(channel, values) {
      const known = pending.get(channel) ?? new Set<string>();
      for (const value of values) known.add(value);
      if (known.size === 0) return;
      pending.set(channel, known);
      // One turn later, so that everything announced in this one goes out together.
      sending ??= Promise.resolve().then(send);
    },
    async flush() {
      await sending;
    },
  };
}

/** Comma-separated values in as few payloads as fit. */
function payloads(values: Iterable<string>): string[] {
  const texts: string[] = [];
  let text = "";
  for (const value of values) {
    if (text !== "" && text.length + 1 + value.length > MAX_PAYLOAD) {
      texts.push(text);
      text = "";
    }
    text = text === "" ? value : `${text},${value}`;
  }
  return text === "" ? texts : [...texts, text];
}
