import { setTimeout as delay } from "node:timers/promises";
import path from "node:path";
import { probeDatabase } from "#lib/db/probe.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { nextBackoffMs } from "./backoff.ts";
import type { Home } from "./home.ts";
import { StartupError } from "./startup-error.ts";

export type Database = { url: string; stop(graceMs: number): Promise<void> };

type Say = (line: string) => void;

/** The Postgres to work on: the given one when it answers, else an embedded one that is kept alive. */
export async function openDatabase(databaseUrl: string | undefined, home: Home, say: Say): Promise<Database> {
  if (databaseUrl === undefined) return await keepEmbedded(home, say);
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

async function keepEmbedded(home: Home, say: Say): Promise<Database> {
  const stopping = new AbortController();
  const options = { dataDir: home.postgres, logFile: path.join(home.logs, "postgres.log"), say };
  let current = await startEmbeddedPostgres(options);
  const { url, port } = current;
  const keeping = keepAlive();

  async function keepAlive(): Promise<void> {
    let backoffMs: number | undefined;
    for (;;) {
      const startedAtMs = performance.now();
      const exit = await current.exited;
      if (stopping.signal.aborted) return;
      say(`Postgres ended (${exit.signal ?? `exit code ${exit.code}`}); starting it again`);
      backoffMs = nextBackoffMs(backoffMs, performance.now() - startedAtMs);
      const restarted = await restart(backoffMs);
      if (restarted === undefined) return;
      current = restarted;
    }
  }

  async function restart(firstWaitMs: number): Promise<EmbeddedPostgres | undefined> {
    let waitMs = firstWaitMs;
    while (!stopping.signal.aborted) {
      await delay(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return undefined;
      try {
        return await startEmbeddedPostgres({ ...options, port });
      } catch (error) {
        say(reasonOf(error));
        waitMs = nextBackoffMs(waitMs, 0);
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
      // A restart may have been under way when the stop was asked for.
      await current.stop(graceMs);
    },
  };
}
