import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import path from "node:path";
import { plainEnv } from "#lib/env.ts";

const CLI = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");

type Options = { databaseUrl: string; dagsDir: string; healthPort?: number; env?: Record<string, string> };

/** A scheduler in a process of its own, once it is ready. Errors go to the test's output. */
export const startScheduler = (options: Options): Promise<ChildProcess> => startReady("scheduler", options);

/** A worker, likewise. */
export const startWorker = (options: Options): Promise<ChildProcess> => startReady("worker", options);

async function startReady(command: "scheduler" | "worker", options: Options): Promise<ChildProcess> {
  const child = fork(CLI, [command], {
    env: {
      ...plainEnv(),
      DATABASE_URL: options.databaseUrl,
      SLUICE_DAGS_DIR: options.dagsDir,
      SLUICE_HEALTH_PORT: String(options.healthPort ?? 0),
      LOG_LEVEL: "fatal",
      ...options.env,
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
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
