import type pg from "pg";

/**
 * `sluice_tasks`: names of lanes with new work. `sluice_runs`: ids of runs whose state or logs changed. `sluice_schedules`: DAGs
 * whose schedules a scheduler is to look at. `sluice_admission`: a full pass of admission is wanted.
 */
export type Channel = "sluice_tasks" | "sluice_runs" | "sluice_schedules" | "sluice_admission";

/** Postgres refuses a payload of 8,000 bytes or more. */
const MAX_PAYLOAD = 7_900;

/**
 * How often a channel is announced on at most, and how long the first announcement waits for others. Tasks: at once, somebody
 * waits to run them. Runs: people look at them, and one transaction a step would cost a chain as much as the step; a worker that
 * has just claimed a task begins it first. Admission: the leader takes no more passes than that.
 */
const PACE: Record<Channel, { everyMs: number; lagMs: number }> = {
  sluice_tasks: { everyMs: 0, lagMs: 0 },
  sluice_runs: { everyMs: 100, lagMs: 25 },
  sluice_schedules: { everyMs: 0, lagMs: 0 },
  sluice_admission: { everyMs: 10, lagMs: 0 },
};

/**
 * Collects what to announce and sends it in one small transaction of its own, after the commit it speaks of; announcements
 * of tasks ring bells as well.
 */
export type Notifier = {
  /** Asks for an announcement; returns at once. Doubled values are sent once. */
  announce(channel: Channel, values: Iterable<string>): void;
  /** Resolves when everything announced so far was sent (or could not be: receivers poll as well). */
  flush(): Promise<void>;
};

/** What rings beside announcements of tasks, for workers that do not hear these. */
type Bells = { ring(names: Iterable<string>): void; flush(): Promise<void> };

export function createNotifier(pool: pg.Pool, bells: Bells, onError: (error: unknown) => void): Notifier {
  const pending = new Map<Channel, { values: Set<string>; dueAt: number }>();
  const sentAt = new Map<Channel, number>();
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let timerAt = Infinity;

  const send = async (all: boolean): Promise<void> => {
    for (;;) {
      const now = performance.now();
      const due = [...pending].filter(([, { dueAt }]) => all || dueAt <= now);
      if (due.length === 0) break;
      const messages = due.flatMap(([channel, { values }]) =>
        payloads(values).map((payload) => ({ channel, payload })),
      );
      for (const [channel] of due) {
        pending.delete(channel);
        sentAt.set(channel, now);
      }
      try {
        await pool.query({
          name: "notify",
          // Its commit writes nothing that a crash must not lose: nobody listens across one.
          text: `select pg_notify(c, p), set_config('synchronous_commit', 'off', true)
                   from unnest($1::text[], $2::text[]) m(c, p)`,
          values: [messages.map((m) => m.channel), messages.map((m) => m.payload)],
        });
      } catch (error) {
        onError(error);
      }
    }
    sending = undefined;
    if (pending.size > 0) sendAt(Math.min(...[...pending.values()].map(({ dueAt }) => dueAt)));
  };

  const stop = (): void => {
    clearTimeout(timer);
    timerAt = Infinity;
  };

  const begin = (): void => {
    stop();
    // One turn later, so that everything announced in this one goes out together.
    sending ??= Promise.resolve().then(() => send(false));
  };

  const sendAt = (at: number): void => {
    const waitMs = at - performance.now();
    if (waitMs <= 0) return begin();
    if (at >= timerAt) return;
    stop();
    timerAt = at;
    timer = setTimeout(begin, waitMs);
    // What is left unsaid by a process that ends is found by those who look.
    timer.unref();
  };

  return {
    announce(channel, values) {
      const { everyMs, lagMs } = PACE[channel];
      const now = performance.now();
      const known = pending.get(channel) ?? {
        values: new Set<string>(),
        dueAt: Math.max(now + lagMs, (sentAt.get(channel) ?? Number.NEGATIVE_INFINITY) + everyMs),
      };
      for (const value of values) known.values.add(value);
      if (known.values.size === 0) return;
      pending.set(channel, known);
      if (channel === "sluice_tasks") bells.ring(known.values);
      sendAt(known.dueAt);
    },
    async flush() {
      stop();
      await sending;
      await Promise.all([send(true), bells.flush()]);
      stop();
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
