import { setTimeout as delay } from "node:timers/promises";
import path from "node:path";
import { probeDatabase } from "#lib/db/probe.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { type Ends, oneMoreEnd, restartLine } from "./backoff.ts";
import type { Home } from "./home.ts";
import { StartupError } from "./startup-error.ts";

export type Database = { url: string; stop(graceMs: number): Promise<void> };

type Say = (line: string) => void;

/** The Postgres to work on: the given one when it answers, else an embedded one that is kept alive. `signal` gives the start up. */
export async function openDatabase(
  databaseUrl: string | undefined,
  home: Pick<Home, "postgres" | "logs">,
  say: Say,
  signal: AbortSignal,
): Promise<Database> {
  if (databaseUrl === undefined) return await keepEmbedded(home, say, signal);
  await assertAnswers(databaseUrl);
  return { url: databaseUrl, stop: async () => undefined };
}

async function assertAnswers(url: string): Promise<void> {
  try {
    await probeDatabase(url);
  } catch (cause) {
    const { host, pathname } = new URL(url);
    throw new StartupError(`The database ${host}${pathname} (DATABASE_URL) cannot be used: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return (first instanceof Error ? first.message : String(first)).replaceAll("\n", " ");
}

async function keepEmbedded(home: Pick<Home, "postgres" | "logs">, say: Say, signal: AbortSignal): Promise<Database> {
  const stopping = new AbortController();
  const options = { dataDir: home.postgres, logFile: path.join(home.logs, "postgres.log"), say };
  let current = await startEmbeddedPostgres({ ...options, signal });
  const { url, port } = current;
  const keeping = keepAlive();

  async function keepAlive(): Promise<void> {
    let ends: Ends | undefined;
    let startedAtMs = performance.now();
    for (;;) {
      const exit = await current.exited;
      if (stopping.signal.aborted) return;
      const endedAtMs = performance.now();
      ends = oneMoreEnd(ends, endedAtMs - startedAtMs);
      say(restartLine("Postgres", exit.signal ?? `exit code ${exit.code}`, ends));
      const restarted = await restart(ends);
      if (restarted === undefined) return;
      ({ server: current, ends } = restarted);
      // Who stops it now waits for this function before that server is stopped.
      if (stopping.signal.aborted) return;
      startedAtMs = performance.now();
      say(`Postgres takes connections again, after ${((startedAtMs - endedAtMs) / 1_000).toFixed(1)} s`);
    }
  }

  async function restart(before: Ends): Promise<{ server: EmbeddedPostgres; ends: Ends } | undefined> {
    let ends = before;
    while (!stopping.signal.aborted) {
      await delay(ends.waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return undefined;
      try {
        return { server: await startEmbeddedPostgres({ ...options, restartOn: port, signal: stopping.signal }), ends };
      } catch (error) {
        if (stopping.signal.aborted) return undefined;
        ends = oneMoreEnd(ends, 0);
        say(`${reasonOf(error)}; trying again in ${ends.waitMs / 1_000} s`);
      }
    }
    return undefined;
  }

  return {
    url,
    stop: async (graceMs) => {
      stopping.abort();
      await current.stop(graceMs);
      await keeping;
      // A restart may have come to its end when the stop was asked for.
      await current.stop(graceMs);
    },
  };
}
