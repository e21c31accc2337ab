/**
 * The worker's spawner where there is no Perl for main.pl: a small process that does nothing but start and kill task
 * processes. It knows no control groups: to start a process inside one it would have to enter it itself. Forking from the worker itself would copy its page tables and block its event loop at each task; and
 * when the worker dies, even by SIGKILL, the pipe closes here and every task process is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { killGroup } from "../kill-group.ts";
import { collectFile, makeFolder, removeFolder, workingFolder } from "./folder.ts";
import { createFrameReader } from "../frames/frames.ts";
import { decodeToSpawner, encodeFromSpawner, TO_SPAWNER } from "./protocol.ts";
import type { FromSpawner, SpawnedExit, ToSpawner } from "./protocol.ts";

/** What left the process group may keep the pipes open; the attempt does not wait for it longer. */
const STRAY_PIPE_MS = 1_000;
/** After it, so long for what is in the pipe already. */
const LAST_PIECE_MS = 50;
/** A pipe holds no more than this of what the task itself wrote, and what comes then is of others. */
const PIPE_BYTES = 65_536;

type Run = Extract<ToSpawner, { kind: "run" }>;
type Task = Pick<Run, "user"> & {
  folder: string | undefined;
  /** Files to hand back. */
  wanted: Run["outputs"];
  child?: ChildProcess;
  outputs?: { stdout: Output; stderr: Output };
};

const tasks = new Map<number, Task>();
/** Whether it has one task, which inherits the two pipes to the process that it is a guest of. */
const OF_GUEST = process.argv[2] === "guest";
const GUEST_PIPES = [3, 4];

function send(message: FromSpawner): void {
  process.stdout.write(encodeFromSpawner(message));
}

type Output = {
  /** The worker has taken a piece. */
  more(): void;
  /** The process has ended long ago: closes the pipe when nothing of the process itself is in it any more. */
  closeLate(): void;
};

/** Reads on only when the worker asks for more: a flood of output waits in the pipe. */
function forward(id: number, stream: "stdout" | "stderr", source: Readable): Output {
  let untaken = 0;
  let lateBytes: number | undefined;
  let quiet: NodeJS.Timeout | undefined;
  source.on("data", (bytes: Buffer) => {
    source.pause();
    untaken++;
    if (lateBytes !== undefined) lateBytes += bytes.length;
    send({ kind: "data", id, stream, bytes });
  });
  const closeWhenQuiet = (): void => {
    clearTimeout(quiet);
    if (untaken > 0 || lateBytes === undefined) return;
    if (lateBytes >= PIPE_BYTES) source.destroy();
    else quiet = setTimeout(() => untaken === 0 && source.destroy(), LAST_PIECE_MS);
  };
  return {
    more() {
      // At its end Node reads one piece more than was asked for.
      if (--untaken > 0) return;
      source.resume();
      closeWhenQuiet();
    },
    closeLate() {
      lateBytes = 0;
      closeWhenQuiet();
    },
  };
}

/** Node changes the folder before the user, and so would enter folders that are closed to it; a shell does it after. */
function programIn(
  { file, args, folder, user }: Run,
  cwd: string,
): { file: string; args: readonly string[]; from: string } {
  if (user === undefined || cwd === folder) return { file, args, from: cwd };
  return { file: "/bin/sh", args: ["-c", 'cd -- "$0" && exec "$@"', cwd, file, ...args], from: folder };
}

function start(run: Run): void {
  const { id, folder, env, user } = run;
  const task: Task = { folder: undefined, user, wanted: run.outputs };
  tasks.set(id, task);
  makeFolder(folder, run.files, user, () => (task.folder = folder));
  const { file, args, from } = programIn(run, workingFolder(folder, run.cwd, user));
  const child = spawn(file, args, {
    cwd: from,
    env: env as NodeJS.ProcessEnv,
    detached: true,
    stdio: ["ignore", "pipe", "pipe", ...(OF_GUEST ? GUEST_PIPES : [])],
    uid: user?.uid,
    gid: user?.gid,
  });
  // Its ends are the guest's alone: their closing tells that it is gone.
  if (OF_GUEST) for (const pipe of GUEST_PIPES) closeSync(pipe);
  child.on("error", (error) => tellExit(id, { error: error.message }));
  if (child.pid === undefined) return;
  send({ kind: "started", id, pid: child.pid });
  const outputs = { stdout: forward(id, "stdout", child.stdout!), stderr: forward(id, "stderr", child.stderr!) };
  Object.assign(task, { child, outputs });
  child.on("exit", (code, signal) => {
    // What the command left behind in its group ends with it.
    killGroup(child.pid, "SIGKILL");
    send({ kind: "ended", id });
    const stray = setTimeout(() => Object.values(outputs).forEach((output) => output.closeLate()), STRAY_PIPE_MS);
    child.on("close", () => {
      clearTimeout(stray);
      tellExit(id, code === null ? { signal: constants.signals[signal!] } : { code });
    });
  });
}

/** A full disk, an argument list that is too long, or too many open files make it throw instead of report. */
function startOrTell(run: Run): void {
  try {
    start(run);
  } catch (error) {
    tellExit(run.id, { error: error instanceof Error ? error.message : String(error) });
  }
}

/** A process that did not end well leaves no files. */
function tellExit(id: number, how: Pick<SpawnedExit, "code" | "signal" | "error">): void {
  const task = tasks.get(id);
  if (task === undefined) return;
  tasks.delete(id);
  const { folder, user } = task;
  const wanted = how.code === 0 && folder !== undefined ? task.wanted : [];
  const files = wanted.map(({ name, maxBytes }) => collectFile(folder!, name, maxBytes, user));
  send({ kind: "exit", id, ...how, files });
  if (folder !== undefined) removeFolder(folder, user, (text) => send({ kind: "notice", text }));
}

function take(message: ToSpawner): void {
  switch (message.kind) {
    case "run":
      return startOrTell(message);
    case "more":
      return tasks.get(message.id)?.outputs?.[message.stream].more();
    case "kill":
      return killLeader(tasks.get(message.id)?.child, message.signal);
    case "ping":
      return send({ kind: "pong", id: message.id });
  }
}

function killLeader(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) killGroup(child.pid, signal);
}

/** The worker is gone, however it went. */
function endEverything(): never {
  for (const { child } of tasks.values()) killLeader(child, "SIGKILL");
  process.exit(0);
}

process.stdin.on(
  "data",
  createFrameReader(TO_SPAWNER, (one) => take(decodeToSpawner(one))),
);
process.stdin.on("end", endEverything);
process.stdin.on("error", endEverything);
process.stdout.on("error", endEverything);

// A terminal's Ctrl-C reaches the whole foreground group; when to stop is the worker's decision.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
