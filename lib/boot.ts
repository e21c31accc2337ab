import { createHash, randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { listen } from "#lib/db/listen.ts";
import { createNotifier } from "#lib/db/notify.ts";
import { createPool, ping } from "#lib/db/pool.ts";
import { readMigrationState } from "#lib/db/readiness-reads.ts";
import { type Addresses, proveSessionAddress } from "#lib/db/session-address.ts";
import { keepSessionSettings } from "#lib/db/session-settings.ts";
import type { PrismaClient } from "#lib/db/prisma.ts";
import { createLogStore } from "#lib/db/task-logs.ts";
import { messageOf } from "#lib/domain/errors.ts";
import { createSettingsCheck, SETTINGS_EVERY_MS } from "#lib/engine/check-session-settings.ts";
import { createEngineDeps, type EngineDeps } from "#lib/engine/deps.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { processSettings, type Settings } from "#lib/env.ts";
import { createDuties, type Duties } from "#lib/obs/duties.ts";
import { everyService } from "#lib/obs/every.ts";
import { createLogger } from "#lib/obs/log.ts";
import { boundedRound, requireHeard, throughThreadPool } from "#lib/obs/rounds.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";

/** Everything alive in a process is built here and handed down; importing any module does nothing. */

/** Of the web process: requests of people and programs at once. */
const WEB_CONNECTIONS = 10;

/** Above the server's own limit for a statement, so it only counts when the server does not answer. */
const QUERY_TIMEOUT_MS = 17_000;

/** The engine on a database. The caller starts `queue` before its first use and ends `pool` last. */
export function engineDeps(
  { databaseUrl: url, sessionUrl = url }: { databaseUrl: string; sessionUrl?: string | undefined },
  { name, connections: max }: { name: string; connections: number },
  log: Logger,
  requestPass: (deps: EngineDeps) => Promise<unknown>,
): EngineDeps {
  const pool = createPool({ url, max, name, queryTimeoutMs: QUERY_TIMEOUT_MS });
  const onError = (error: unknown): void =>
    log.warn({ error: messageOf(error) }, "a database call in the background failed");
  const queue = createJobQueue(pool, onError);
  return createEngineDeps({
    pool,
    sessionUrl,
    queue,
    notifier: createNotifier(pool, queue.bells, onError),
    logs: createLogStore(pool),
    log,
    newToken: randomUUID,
    requestPass,
  });
}

/** Tells who is interested in a run that something about it has changed. */
export type RunChanges = {
  /** `onChange` runs after each change; also after a reconnect, when changes may have been missed. */
  subscribe(runId: string, onChange: () => void): () => void;
  /** Milliseconds since the database connection behind it last answered. */
  age(): number;
  /** Aborts when the process stops: streams end then. */
  closing: AbortSignal;
};

export type WebDeps = {
  settings: Settings & { sessionSecret: string };
  engine: EngineDeps;
  prisma: PrismaClient;
  changes: RunChanges;
  /** How old the last useful round through each thing is that this process needs. */
  duties: Duties;
  apiTokenHash: Buffer;
  log: Logger;
};

const BUILD_AGAIN_MS = 1_000;

/** Next loads this module once per bundle; what is alive must exist once per process. */
const holder = globalThis as typeof globalThis & { sluiceWebDeps?: Promise<WebDeps> };

/** The web process's dependencies, made at first use. */
export function webDeps(): Promise<WebDeps> {
  holder.sluiceWebDeps ??= buildWebDeps().catch((error: unknown) => {
    // A database that was away is asked again by the next request, and once a second at most: anybody may ask.
    setTimeout(() => delete holder.sluiceWebDeps, BUILD_AGAIN_MS);
    throw error;
  });
  return holder.sluiceWebDeps;
}

async function buildWebDeps(): Promise<WebDeps> {
  const read = processSettings();
  if (!read.ok) throw new Error(read.problems.join("; "));
  const { databaseUrl, sessionSecret, apiToken } = read.settings;
  if (!databaseUrl || !sessionSecret || !apiToken) {
    throw new Error("the web process needs DATABASE_URL, SLUICE_SESSION_SECRET and SLUICE_API_TOKEN");
  }
  const log = createLogger({ level: read.settings.logLevel, component: "web" });
  const engine = engineDeps(
    { ...read.settings, databaseUrl },
    { name: "web", connections: WEB_CONNECTIONS },
    log,
    announceRequest,
  );
  try {
    await proveSessionAddress(engine);
    await keepSessionSettings(engine.pool);
    await engine.queue.start();
  } catch (error) {
    // The next request builds another one.
    await engine.pool.end();
    throw error;
  }
  keepsSettings(engine);
  const changes = runChanges(engine, log);
  // Here and not above: worker and scheduler load this module too and have no use for Prisma.
  const { createPrisma } = await import("#lib/db/prisma.ts");
  return {
    settings: { ...read.settings, sessionSecret },
    engine,
    prisma: createPrisma(engine.pool),
    changes,
    duties: await keepsRounds(engine, changes),
    apiTokenHash: createHash("sha256").update(apiToken).digest(),
    log,
  };
}

/** Looks now and then whether sessions still have their settings, as duties of the other processes do. */
function keepsSettings(engine: EngineDeps): void {
  const check = createSettingsCheck(engine);
  const look = (): void =>
    void check().catch((error: unknown) => {
      engine.log.warn({ error: messageOf(error) }, "the settings of sessions could not be looked at; trying again");
    });
  setInterval(look, SETTINGS_EVERY_MS).unref();
}

const ROUND_MS = 2_000;
const DATABASE_ROUND_MS = 5_000;

/** Goes through what the web process needs, again and again for as long as it lives; requests for /ready read the ages. */
async function keepsRounds({ pool, log }: EngineDeps, changes: RunChanges): Promise<Duties> {
  const duties = createDuties();
  const round = (name: string, everyMs: number, run: () => Promise<unknown>, isNeeded = false): void =>
    void everyService({ name, everyMs, isNeeded, duties, log, run: boundedRound(run) }).start();
  round("thread pool", ROUND_MS, () => throughThreadPool(), true);
  round("database", DATABASE_ROUND_MS, () => ping(pool));
  round("listener", ROUND_MS, async () => requireHeard(changes.age()));
  round("migrations", DATABASE_ROUND_MS, () => requireMigrated(pool), true);
  // Once before the first request is told anything.
  await requireMigrated(pool).catch((error: unknown) => duties.failed("migrations", messageOf(error)));
  return duties;
}

async function requireMigrated(pool: EngineDeps["pool"]): Promise<void> {
  const { applied, open } = await readMigrationState(pool);
  if (applied === 0 || open > 0) throw new Error(`${applied} migrations are applied, and ${open} are open`);
}

function runChanges(addresses: Addresses, log: Logger): RunChanges {
  const closing = new AbortController();
  const interested = new Map<string, Set<() => void>>();
  const listener = listen({
    addresses,
    hears: { sluice_runs: (runId) => interested.get(runId)?.forEach((onChange) => onChange()) },
    onReconnect: () => interested.forEach((set) => set.forEach((onChange) => onChange())),
    onError: (error) =>
      log.warn({ error: messageOf(error) }, "lost the connection that hears of changes; reconnecting"),
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      closing.abort();
      void listener.stop();
    });
  }
  return {
    subscribe(runId, onChange) {
      const set = interested.get(runId) ?? new Set();
      set.add(onChange);
      interested.set(runId, set);
      return () => {
        set.delete(onChange);
        if (set.size === 0) interested.delete(runId);
      };
    },
    age: () => listener.age(),
    closing: closing.signal,
  };
}
