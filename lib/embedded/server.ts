import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile, rename, stat } from "node:fs/promises";
import { release } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { plainEnv } from "#lib/env.ts";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import { codeOf } from "./folder.ts";
import type { Owner } from "./owner.ts";
import { readPidFile } from "./pid-file.ts";

/** `error`: why there was no process at all. */
export type Exit = { code: number | null; signal: NodeJS.Signals | null; error?: string };
export type Server = {
  process: ChildProcess;
  exited: Promise<Exit>;
  /** Ends all sessions and the server; `immediate`, or after `graceMs`, without a checkpoint. */
  stop(graceMs?: number, mode?: "fast" | "immediate"): Promise<void>;
  /** True once `stop` has been called. */
  isAskedToStop(): boolean;
  /** Where in the log what this server writes begins. */
  logFrom: number;
};

const MAX_LOG_BYTES = 10_000_000;
const SILENCE_MS = 60_000;
const READY_POLL_MS = 25;
const CONNECT_MS = 5_000;
const FAST_STOP_MS = 5_000;

export type ServerOptions = {
  binaries: Binaries;
  owner: Owner;
  pgData: string;
  port: number;
  logFile: string;
  extraSettings: Record<string, string>;
};

/** Starts the server in a session of its own, so that Ctrl-C in the terminal does not reach it before its clients. */
export async function spawnServer(options: ServerOptions): Promise<Server> {
  await rotate(options.logFile);
  const log = await open(options.logFile, "a", 0o600);
  try {
    const logFrom = (await log.stat()).size;
    const child = spawn(options.binaries.postgres, serverArgs(options), {
      ...options.owner,
      cwd: options.pgData,
      env: plainEnv(),
      detached: true,
      // A file and not a pipe: the server must be able to log when we are gone.
      stdio: ["ignore", log.fd, log.fd],
    });
    const exited = exitOf(child);
    let isAskedToStop = false;
    return {
      process: child,
      exited,
      stop(graceMs = FAST_STOP_MS, mode = "fast") {
        isAskedToStop = true;
        return stopServer(child, exited, graceMs, mode);
      },
      isAskedToStop: () => isAskedToStop,
      logFrom,
    };
  } finally {
    await log.close();
  }
}

function serverArgs(options: ServerOptions): string[] {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(options.port),
    // Socket paths have a short limit that a deep home folder would break.
    unix_socket_directories: "",
    max_connections: "100",
    timezone: "UTC",
    log_timezone: "UTC",
    ...recoverySync(process.platform, release()),
    ...options.extraSettings,
  };
  return ["-D", options.pgData, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
}

/**
 * Before a recovery Postgres syncs each of its files, of which there are thousands: seconds on a busy disk. One call does so for the file
 * system, and reports errors since Linux 5.8 (https://www.postgresql.org/docs/18/runtime-config-error-handling.html).
 */
export function recoverySync(platform: string, kernel: string): Record<string, string> {
  const [major = 0, minor = 0] = kernel.split(".").map(Number);
  const reports = platform === "linux" && (major > 5 || (major === 5 && minor >= 8));
  return reports ? { recovery_init_sync_method: "syncfs" } : {};
}

async function rotate(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (info) => info.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await rename(logFile, `${logFile}.1`);
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", (error) => {
      if (child.pid === undefined) resolve({ code: null, signal: null, error: `${child.spawnfile}: ${codeOf(error)}` });
    });
  });
}

async function stopServer(
  child: ChildProcess,
  exited: Promise<Exit>,
  graceMs: number,
  mode: "fast" | "immediate",
): Promise<void> {
  // One that could not be started has no process and has ended.
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
  const escalate = setTimeout(() => child.kill("SIGQUIT"), graceMs);
  const lastResort = setTimeout(() => child.kill("SIGKILL"), 2 * graceMs);
  await exited;
  clearTimeout(escalate);
  clearTimeout(lastResort);
}

export type Wait = {
  url: string;
  pgData: string;
  logFile: string;
  signal?: AbortSignal | undefined;
  silenceMs?: number | undefined;
};

/**
 * Resolves when the server takes connections. One that says that it is starting is waited for: how long the redo takes
 * depends on what was written before. Throws with the server's own words when it ends instead, and when `signal` says so.
 */
export async function waitUntilReady(server: Server, wait: Wait): Promise<void> {
  const { url, pgData, logFile, signal, silenceMs = SILENCE_MS } = wait;
  let heardMs = performance.now();
  for (;;) {
    signal?.throwIfAborted();
    const outcome = await Promise.race([server.exited, connects(url)]);
    if (outcome === "ready" && (await isOurs(server, pgData))) return;
    if (outcome === "starting") heardMs = performance.now();
    if (typeof outcome === "object" || performance.now() - heardMs > silenceMs) {
      const error = typeof outcome === "object" ? outcome.error : undefined;
      const why = error ?? (await lastFatal(logFile, server.logFrom));
      throw new EmbeddedPostgresError(`The embedded Postgres did not start: ${why} (log: ${logFile})`);
    }
    // Postgres announces readiness only in its log file, which it shares with nobody who could signal us.
    await delay(READY_POLL_MS);
  }
}

/** Another server of the same folder has the same port and takes the same password. */
async function isOurs(server: Server, pgData: string): Promise<boolean> {
  const file = await readPidFile(pgData);
  return typeof file === "object" && file.pid === server.process.pid;
}

/** "The database system is starting up", or shutting down. */
const CANNOT_CONNECT_NOW = "57P03";

async function connects(url: string): Promise<"ready" | "starting" | "silent"> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_MS });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return "ready";
  } catch (error) {
    return codeOf(error) === CANNOT_CONNECT_NOW ? "starting" : "silent";
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function lastFatal(logFile: string, from: number): Promise<string> {
  const log = await readFile(logFile).catch(() => Buffer.alloc(0));
  const lines = log.subarray(from).toString("utf8").trim().split("\n");
  return (lines.findLast(isReason) ?? (lines.at(-1) || "no output")).trim();
}

/** That a connection was refused, ours among them, is no reason: it says what the server is about. */
function isReason(line: string): boolean {
  return /FATAL|PANIC|error while loading/.test(line) && !/FATAL: +the database system is/.test(line);
}
