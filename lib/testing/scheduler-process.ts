import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { plainEnv } from "#lib/env.ts";

const CLI = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");

type Options = {
  databaseUrl: string;
  dagsDir: string;
  healthPort?: number;
  env?: Record<string, string>;
  /** A program, with its arguments, that becomes the process. */
  under?: readonly [string, ...string[]];
  /** Hears the process's warnings and errors, line by line. */
  onLine?: (line: string) => void;
};

/** A scheduler in a process of its own, once it is ready. Errors go to the test's output. */
export const startScheduler = (options: Options): Promise<ChildProcess> => startReady("scheduler", options);

/** A worker, likewise. */
export const startWorker = (options: Options): Promise<ChildProcess> => startReady("worker", options);

async function startReady(command: "scheduler" | "worker", options: Options): Promise<ChildProcess> {
  const [execPath = process.execPath, ...before] = options.under ?? [];
  const child = fork(CLI, [command], {
    execPath,
    execArgv: [...before, ...(before.length > 0 ? [process.execPath] : []), ...process.execArgv],
    env: {
      ...plainEnv(),
      DATABASE_URL: options.databaseUrl,
      SLUICE_DAGS_DIR: options.dagsDir,
      SLUICE_HEALTH_PORT: String(options.healthPort ?? 0),
      LOG_LEVEL: options.onLine === undefined ? "fatal" : "warn",
      ...options.env,
    },
    stdio: ["ignore", options.onLine === undefined ? "ignore" : "pipe", "inherit", "ipc"],
  });
  if (options.onLine !== undefined) createInterface({ input: child.stdout! }).on("line", options.onLine);
  const exited = once(child, "exit").then(([code]) => {
    throw new Error(`the ${command} ended with exit code ${String(code)} before it was ready`);
  });
  await Promise.race([once(child, "message"), exited]);
  return child;
}

/** Ends a process as a crash would; one that has ended is left alone. */
export async function killProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** A port that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
