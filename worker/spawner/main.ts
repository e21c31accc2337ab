/**
 * The worker's spawner where there is no Perl for main.pl: a small process that does nothing but start and kill task
 * processes. Forking from the worker itself would copy its page tables and block its event loop at each task; and
 * when the worker dies, even by SIGKILL, the pipe closes here and every task process is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { killGroup } from "../kill-group.ts";
import { collectFile, makeFolder, removeFolder } from "./folder.ts";
import { createFrameReader } from "./frames.ts";
import { decodeToSpawner, encodeFromSpawner } from "./protocol.ts";
import type { FromSpawner, ProcessUser, ToSpawner } from "./protocol.ts";

/** What left the process group may keep the pipes open; the attempt does not wait for it longer. */
const STRAY_PIPE_MS = 1_000;

type Run = Extract<ToSpawner, { kind: "run" }>;
type Task = {
  folder: string | undefined;
  user: ProcessUser | undefined;
  procs: readonly string[];
  child?: ChildProcess;
};

const tasks = new Map<number, Task>();
const guarded = new Set<number>();

function send(message: FromSpawner): void {
  process.stdout.write(encodeFromSpawner(message));
}

/** Reads on only when the worker asks for more: a flood of output waits in the pipe. */
function forward(id: number, stream: "stdout" | "stderr", source: Readable): void {
  source.on("data", (bytes: Buffer) => {
    source.pause();
    send({ kind: "data", id, stream, bytes });
  });
}

/** Starts inside the control groups: this process enters them itself, because a fork stays where it is made. */
function spawnInside({ file, args, folder, env, user, procs }: Run): ChildProcess {
  const homes = procs.map(homeOf);
  try {
    for (const group of procs) writeFileSync(group, "0");
    return spawn(file, args, {
      cwd: folder,
      env: env as NodeJS.ProcessEnv,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      ...user,
    });
  } finally {
    for (const home of homes) writeFileSync(home, "0");
  }
}

/** The groups of one hierarchy lie in one folder: `…/sluice/<worker>/<attempt>/cgroup.procs`; ours is their parent. */
function homeOf(procs: string): string {
  return procs.replace(/\/[^/]+\/cgroup\.procs$/, "/spawner/cgroup.procs");
}

function start(run: Run): void {
  const { id, folder, user, procs } = run;
  const task: Task = { folder: undefined, user, procs };
  tasks.set(id, task);
  makeFolder(folder, run.files, user, () => (task.folder = folder));
  const child = spawnInside(run);
  task.child = child;
  child.on("error", (error) => send({ kind: "exit", id, error: error.message }));
  if (child.pid === undefined) return;
  send({ kind: "started", id, pid: child.pid });
  forward(id, "stdout", child.stdout!);
  forward(id, "stderr", child.stderr!);
  child.on("exit", (code, signal) => {
    // What the command left behind in its group ends with it.
    killGroup(child.pid, "SIGKILL");
    send({ kind: "ended", id });
    const stray = setTimeout(() => {
      child.stdout!.destroy();
      child.stderr!.destroy();
    }, STRAY_PIPE_MS);
    child.on("close", () => {
      clearTimeout(stray);
      send({ kind: "exit", id, ...(code === null ? { signal: constants.signals[signal!] } : { code }) });
    });
  });
}

/** A full disk, an argument list that is too long, or too many open files make it throw instead of report. */
function startOrTell(run: Run): void {
  try {
    start(run);
  } catch (error) {
    send({ kind: "exit", id: run.id, error: error instanceof Error ? error.message : String(error) });
  }
}

function collect({ id, files }: Extract<ToSpawner, { kind: "collect" }>): void {
  const task = tasks.get(id);
  if (task === undefined) return;
  tasks.delete(id);
  const { folder, user } = task;
  const found = files.map(({ name, maxBytes }) =>
    folder === undefined ? { bytes: Buffer.alloc(0) } : collectFile(folder, name, maxBytes, user),
  );
  send({ kind: "collected", id, files: found });
  if (folder !== undefined) removeFolder(folder, user, (text) => send({ kind: "notice", text }));
}

function take(message: ToSpawner): void {
  switch (message.kind) {
    case "run":
      return startOrTell(message);
    case "more":
      tasks.get(message.id)?.child?.[message.stream]?.resume();
      return;
    case "kill":
      return killLeader(tasks.get(message.id)?.child, message.signal);
    case "collect":
      return collect(message);
    case "guard":
      guarded.add(message.id);
      return;
    case "unguard":
      guarded.delete(message.id);
      return;
  }
}

function killLeader(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) killGroup(child.pid, signal);
}

/** The worker is gone, however it went. */
function endEverything(): never {
  for (const { child, procs } of tasks.values()) {
    killLeader(child, "SIGKILL");
    if (procs.length > 0) endGroup(procs[0]!);
  }
  for (const pid of guarded) killGroup(pid, "SIGKILL");
  process.exit(0);
}

function endGroup(procs: string): void {
  for (const pid of readFileSync(procs, "utf8").split("\n").filter(Boolean)) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
}

const read = createFrameReader();
process.stdin.on("data", (bytes) => read(bytes).map(decodeToSpawner).forEach(take));
process.stdin.on("end", endEverything);
process.stdin.on("error", endEverything);
process.stdout.on("error", endEverything);

// A terminal's Ctrl-C reaches the whole foreground group; when to stop is the worker's decision.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
send({ kind: "ready" });
