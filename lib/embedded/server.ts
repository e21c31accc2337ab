import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile, rename, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { plainEnv } from "#lib/env.ts";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import type { Owner } from "./owner.ts";

export type Exit = { code: number | null; signal: NodeJS.Signals | null };
export type Server = { process: ChildProcess; exited: Promise<Exit>; stop(graceMs?: number): Promise<void> };

const MAX_LOG_BYTES = 10_000_000;
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 25;
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
    const child = spawn(options.binaries.postgres, serverArgs(options), {
      ...options.owner,
      cwd: options.pgData,
      env: plainEnv(),
      detached: true,
      // A file and not a pipe: the server must be able to log when we are gone.
      stdio: ["ignore", log.fd, log.fd],
    });
    const exited = exitOf(child);
    return { process: child, exited, stop: (graceMs = FAST_STOP_MS) => stopServer(child, exited, graceMs) };
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
    ...options.extraSettings,
  };
  return ["-D", options.pgData, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
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
    child.once("error", () => resolve({ code: 127, signal: null }));
  });
}

async function stopServer(child: ChildProcess, exited: Promise<Exit>, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGINT");
  const escalate = setTimeout(() => child.kill("SIGQUIT"), graceMs);
  const lastResort = setTimeout(() => child.kill("SIGKILL"), 2 * graceMs);
  await exited;
  clearTimeout(escalate);
  clearTimeout(lastResort);
}

/** Resolves when the server takes connections; throws with the server's own words when it ends instead. */
export async function waitUntilReady(server: Server, url: string, logFile: string): Promise<void> {
  const gaveUp = AbortSignal.timeout(READY_TIMEOUT_MS);
  const ended = server.exited.then(() => "ended" as const);
  for (;;) {
    const outcome = await Promise.race([ended, connects(url)]);
    if (outcome === true) return;
    if (outcome === "ended" || gaveUp.aborted) {
      throw new EmbeddedPostgresError(
        `The embedded Postgres did not start: ${await lastFatal(logFile)} (log: ${logFile})`,
      );
    }
    // Postgres announces readiness only in its log file, which it shares with nobody who could signal us.
    await delay(READY_POLL_MS);
  }
}

async function connects(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function lastFatal(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, "utf8").catch(() => "")).trim().split("\n").slice(-20);
  return (lines.findLast((line) => /FATAL|PANIC|error while loading/.test(line)) ?? lines.at(-1) ?? "no output").trim();
}
