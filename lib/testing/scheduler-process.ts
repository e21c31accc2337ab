import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { plainEnv } from "#lib/env.ts";

const CLI = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");

/** A scheduler in a process of its own, once it is ready. Errors go to the test's output. */
export async function startScheduler(options: {
  databaseUrl: string;
  dagsDir: string;
  healthPort?: number;
}): Promise<ChildProcess> {
  const child = fork(CLI, ["scheduler"], {
    env: {
      ...plainEnv(),
      DATABASE_URL: options.databaseUrl,
      SLUICE_DAGS_DIR: options.dagsDir,
      SLUICE_HEALTH_PORT: String(options.healthPort ?? 0),
      LOG_LEVEL: "fatal",
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(child, "message");
  return child;
}

/** Ends a process as a crash would; one that has ended is left alone. */
export async function killProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
