import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

const ROOT = path.resolve(import.meta.dirname, "..");

export const ADMIN_PASSWORD = "correct horse battery";
export const API_TOKEN = "e2e-token-0123456789abcdef";

/** A whole Sluice, started the way a user starts it, on a data folder and a port of its own. */
export type Sluice = {
  url: string;
  folder: string;
  dagsDir: string;
  process: ChildProcess;
  /** Milliseconds from the start to the ready line. */
  startedInMs: number;
  output: string[];
  /** Resolves with the first line, from now on, that matches. */
  line(pattern: RegExp): Promise<string>;
  /** The process id of a child: web, scheduler or worker. */
  pidOf(child: string): Promise<number>;
  stop(): Promise<{ code: number | null; tookMs: number }>;
};

/** A folder for one test's Sluice, with the repository's example DAGs and those of `e2e/dags`. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-e2e-"));
  // When root tests, Postgres runs as another user and must get to its own folder.
  await chmod(folder, 0o711);
  for (const source of ["dags", "e2e/dags"])
    await cp(path.join(ROOT, source), path.join(folder, "dags"), { recursive: true });
  return folder;
}

/** A folder that tasks may use: those of a worker that is root are somebody else's. */
export async function makeTaskFolder(parent: string): Promise<string> {
  const folder = await mkdtemp(path.join(parent, "held-"));
  await chmod(folder, 0o777);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

const DIRECTLY = [process.execPath, path.join(ROOT, "cli/sluice.mjs"), "start"] as const;
/** As people type it: npm and its shell stand between the signal and the supervisor. */
export const BY_NPM = ["npm", "start"] as const;

/** Starts Sluice on `folder`; fails with the whole output when it ends before it is ready. */
export async function startSluice(
  folder: string,
  port: number,
  command: readonly [string, ...string[]] = DIRECTLY,
): Promise<Sluice> {
  const startedAt = performance.now();
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_ENV: "production",
      PORT: String(port),
      SLUICE_HOME: path.join(folder, "home"),
      SLUICE_DAGS_DIR: path.join(folder, "dags"),
      SLUICE_ADMIN_PASSWORD: ADMIN_PASSWORD,
      SLUICE_API_TOKEN: API_TOKEN,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: string[] = [];
  const watchers = new Set<(line: string) => void>();
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on("line", (line) => {
      output.push(line);
      for (const watcher of watchers) watcher(line);
    });
  }
  const line = (pattern: RegExp): Promise<string> =>
    new Promise((resolve) => {
      const watcher = (text: string): void => {
        if (!pattern.test(text)) return;
        watchers.delete(watcher);
        resolve(text);
      };
      watchers.add(watcher);
    });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`sluice ended with ${code} before it was ready:\n${output.join("\n")}`);
  });
  await Promise.race([line(/^Sluice is ready at /), ended]);
  ended.catch(() => undefined);
  return {
    url: `http://localhost:${port}`,
    folder,
    dagsDir: path.join(folder, "dags"),
    process: child,
    startedInMs: performance.now() - startedAt,
    output,
    line,
    async pidOf(name) {
      const record = path.join(folder, "home/run/children", `${name}.json`);
      return (JSON.parse(await readFile(record, "utf8")) as { pid: number }).pid;
    },
    async stop() {
      const stoppingAt = performance.now();
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill("SIGTERM");
        await exited;
      }
      return { code: child.exitCode, tookMs: performance.now() - stoppingAt };
    },
  };
}

type ApiRequest = { method?: string; body?: string; headers?: Record<string, string> };

/** Calls the API with the bearer token. */
export function api(sluice: Pick<Sluice, "url">, pathname: string, init: ApiRequest = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${API_TOKEN}`, "content-type": "application/json", ...init.headers };
  return fetch(`${sluice.url}/api/v1${pathname}`, { ...init, headers });
}

export type ApiTask = { id: string; taskId: string; state: string; attempt: number };

export async function triggerRun(sluice: Sluice, dagId: string, body: object = {}): Promise<string> {
  const response = await api(sluice, `/dags/${dagId}/trigger`, { method: "POST", body: JSON.stringify(body) });
  const run = (await response.json()) as { id: string };
  if (response.status !== 201) throw new Error(`trigger answered ${response.status}: ${JSON.stringify(run)}`);
  return run.id;
}

/** Follows the run's event stream until it is in a final state, and answers that. */
export async function runEnd(sluice: Sluice, runId: string): Promise<string> {
  const response = await api(sluice, `/dag-runs/${runId}/events`, { headers: { accept: "text/event-stream" } });
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body!) {
    text += decoder.decode(bytes, { stream: true });
    const states = [...text.matchAll(/"run":\{[^}]*?"state":"(\w+)"/g)].map((match) => match[1]!);
    const last = states.at(-1);
    if (last && ["success", "failed", "cancelled"].includes(last)) return last;
  }
  throw new Error(`the event stream of run ${runId} ended before the run did`);
}

export async function tasksOf(sluice: Sluice, runId: string): Promise<ApiTask[]> {
  const body = (await (await api(sluice, `/dag-runs/${runId}/tasks`)).json()) as { items: ApiTask[] };
  return body.items;
}

/** Follows the log of an attempt until it holds `text`. */
export async function logHolds(sluice: Sluice, taskInstanceId: string, attempt: number, text: string): Promise<void> {
  const response = await api(sluice, `/task-instances/${taskInstanceId}/logs?attempt=${attempt}&follow=true`);
  const decoder = new TextDecoder();
  let seen = "";
  for await (const bytes of response.body!) {
    seen += decoder.decode(bytes, { stream: true });
    if (seen.includes(text)) return;
  }
  throw new Error(`the log ended without "${text}": ${seen}`);
}
