import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { engineDeps } from "#lib/boot.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#lib/embedded/start.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { rolesOf } from "#lib/db/roles/grants.ts";
import { install } from "#lib/engine/install.ts";
import { cancelRun } from "#lib/engine/run-actions.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { plainEnv } from "#lib/env.ts";
import { createLogger } from "#lib/obs/log.ts";
import { heapBounds } from "#worker/standalone/heap-bounds.ts";
import { whenSignalled } from "./stopping.ts";

const CLI = new URL("../cli/sluice.mjs", import.meta.url);
const LOOK_MS = 20;
const LOAD_TIMEOUT_MS = 120_000;
const RUN_TIMEOUT_MS = 300_000;
/** What is thrown away has no need to end in good order. */
const HURRY_MS = 2_000;

/** Processes connect as their own roles, as they do in production. */
const PASSWORDS = { scheduler: "password-of-schedulers", worker: "password-of-workers" };
type Kind = keyof typeof PASSWORDS;

/** A whole Sluice as it is in production, but for the web process: durable Postgres, a scheduler, a worker. */
export type System = {
  deps: EngineDeps;
  pool: pg.Pool;
  url: string;
  /** The processes, for looking at their memory. */
  pids: { worker: number; scheduler: number; postgres: number };
  postgresLog: string;
  /** Adds a definition, in TypeScript where nothing else is said, and resolves when the scheduler has published it. */
  addDag(id: string, source: string, kind?: "ts" | "json"): Promise<void>;
  trigger(dagId: string): Promise<string>;
  /** Cancels a run as a person does; resolves when the call returns. */
  cancel(runId: string): Promise<void>;
  /** Resolves when the run has ended, whatever else goes on. */
  ended(runId: string): Promise<void>;
  /** Stops the processes where they are, and lets them continue: what is measured beside this system has the machine for itself. */
  stand(): void;
  go(): void;
  scheduler: ChildProcess;
  /** One more scheduler of the same folder, which ends with the system. */
  startScheduler(): Promise<ChildProcess>;
  /** One more worker, which ends with the system. */
  startWorker(env: Record<string, string>): Promise<ChildProcess>;
  /** Resolves when no run is left open. */
  drained(timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
};

export type SystemOptions = {
  /** Postgres settings on top of the product's own. */
  settings?: Record<string, string>;
  env?: Record<string, string>;
  /** Fills the database before there is a process that would find it half filled. */
  fill?(deps: EngineDeps): Promise<void>;
};

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bench-"));
  await chmod(folder, 0o711);
  const dagsDir = path.join(folder, "dags");
  await mkdir(dagsDir);
  const postgresLog = path.join(folder, "postgres.log");
  const starting = startEmbeddedPostgres({
    dataDir: path.join(folder, "postgres"),
    logFile: postgresLog,
    endsWithOwner: true,
    ...(options.settings === undefined ? {} : { settings: options.settings }),
  });
  const children: ChildProcess[] = [];
  const discard = async (): Promise<void> => {
    await Promise.all(children.map(endSoon));
    // One that is only starting is waited for: it cannot be stopped before it is there.
    await starting.then((started) => started.stop(HURRY_MS)).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  };
  const forget = whenSignalled(discard);
  try {
    const server = await starting;
    const deps = engineDeps(
      { databaseUrl: server.url },
      { name: "bench", connections: 10 },
      createLogger({ level: "error", component: "bench" }),
      announceRequest,
    );
    await install(server.url, { prefix: "sluice", passwords: PASSWORDS });
    await deps.queue.start();
    await options.fill?.(deps);
    const start = async (kind: Kind, env = options.env): Promise<ChildProcess> => {
      const child = forkProcess(kind, server, folder, dagsDir, env);
      children.push(child);
      await ready(kind, child);
      return child;
    };
    const scheduler = await start("scheduler");
    const worker = await start("worker");
    return {
      deps,
      pool: deps.pool,
      url: server.url,
      pids: { worker: worker.pid!, scheduler: scheduler.pid!, postgres: server.pid },
      postgresLog,
      addDag: (id, source, kind = "ts") => addDag(deps.pool, dagsDir, `${id}.${kind}`, source),
      async trigger(dagId) {
        const { runId } = await startRun(deps, { dagId, conf: {}, triggerKind: "manual", actor: "bench" });
        return runId;
      },
      async cancel(runId) {
        await cancelRun(deps, runId, { actor: "bench" });
      },
      ended: (runId) => ended(deps.pool, runId),
      stand: () => children.forEach((child) => child.kill("SIGSTOP")),
      go: () => children.forEach((child) => child.kill("SIGCONT")),
      scheduler,
      startScheduler: () => start("scheduler"),
      startWorker: (env) => start("worker", { ...options.env, ...env }),
      drained: (timeoutMs = 300_000) => drained(deps.pool, timeoutMs),
      async stop() {
        await stopAll(deps, children, server, folder);
        forget();
      },
    };
  } catch (error) {
    await discard();
    forget();
    throw error;
  }
}

function forkProcess(
  kind: Kind,
  server: EmbeddedPostgres,
  folder: string,
  dagsDir: string,
  env: Record<string, string> = {},
): ChildProcess {
  const own = Object.assign(new URL(server.url), { username: rolesOf("sluice")[kind], password: PASSWORDS[kind] });
  return fork(CLI, [kind], {
    execArgv: heapBounds(env.NODE_OPTIONS),
    env: {
      ...plainEnv(),
      DATABASE_URL: own.href,
      SLUICE_HOME: path.join(folder, "home"),
      SLUICE_DAGS_DIR: dagsDir,
      SLUICE_HEALTH_PORT: "0",
      SLUICE_WORKER_NAME: "bench",
      SLUICE_HTTP_ALLOW: "127.0.0.1/32",
      LOG_LEVEL: "warn",
      ...env,
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

async function ready(kind: string, child: ChildProcess): Promise<void> {
  const said = Promise.withResolvers<void>();
  child.on("message", (message) => {
    if (typeof message === "object" && message !== null && "type" in message && message.type === "ready")
      said.resolve();
  });
  child.once("exit", (code) => said.reject(new Error(`the ${kind} ended with code ${code} before it was ready`)));
  await said.promise;
}

/** A worker that drains waits for its tasks, which a bench that is stopped does not. */
async function endSoon(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), HURRY_MS);
  await exited;
  clearTimeout(late);
}

async function stopAll(
  deps: EngineDeps,
  children: readonly ChildProcess[],
  server: EmbeddedPostgres,
  folder: string,
): Promise<void> {
  for (const child of children) {
    // One that a measure has killed.
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  }
  await deps.notifier.flush();
  await deps.queue.stop();
  await deps.pool.end();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function addDag(pool: pg.Pool, dagsDir: string, name: string, source: string): Promise<void> {
  const id = path.parse(name).name;
  await writeFile(path.join(dagsDir, name), source);
  for (const end = performance.now() + LOAD_TIMEOUT_MS; ; await delay(LOOK_MS)) {
    const { rowCount } = await pool.query("select from sluice.dag where id = $1", [id]);
    if (rowCount === 1) return;
    const { rows } = await pool.query<{ problems: unknown }>("select problems from sluice.import_error");
    if (rows.length > 0) throw new Error(`${id} could not be loaded: ${JSON.stringify(rows[0]!.problems)}`);
    if (performance.now() > end) throw new Error(`${id} was not loaded in time`);
  }
}

async function drained(pool: pg.Pool, timeoutMs: number): Promise<void> {
  for (const end = performance.now() + timeoutMs; ; await delay(LOOK_MS)) {
    const { rows } = await pool.query<{ n: number }>({
      name: "bench-open-runs",
      text: `select (exists (select from sluice.dag_run where state = 'running')
                  or exists (select from sluice.dag_run where state = 'queued'))::int as n`,
    });
    if (rows[0]!.n === 0) return;
    if (performance.now() > end) throw new Error("the runs did not end in time");
  }
}

async function ended(pool: pg.Pool, runId: string): Promise<void> {
  for (const end = performance.now() + RUN_TIMEOUT_MS; ; await delay(LOOK_MS)) {
    const { rowCount } = await pool.query("select from sluice.dag_run where id = $1 and ended_at is not null", [runId]);
    if (rowCount === 1) return;
    if (performance.now() > end) throw new Error(`run ${runId} did not end in time`);
  }
}

/** Resident memory of a process in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
