/**
 * The worker's spawner: a small process that does nothing but start and kill task processes. Forking from the
 * worker itself would copy its page tables and block its event loop at each task; and when the worker dies, even
 * by SIGKILL, the channel closes here and every task process is killed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { killGroup } from "../kill-group.ts";
import type { FromSpawner, ToSpawner } from "./protocol.ts";

/** A grandchild that left the process group may keep the pipes open; the attempt does not wait for it longer. */
const STRAY_PIPE_MS = 1_000;

const children = new Map<number, ChildProcess>();
const guarded = new Set<number>();

function send(message: FromSpawner): void {
  if (process.connected) process.send?.(message);
}

/** Reads on only when the worker asks for more: a flood of output waits in the pipe. */
function forward(id: number, stream: "stdout" | "stderr", source: Readable): void {
  source.on("data", (bytes: Buffer) => {
    source.pause();
    send({ kind: "data", id, stream, bytes });
  });
}

function start({ id, file, args, cwd, env }: Extract<ToSpawner, { kind: "spawn" }>): void {
  const child = spawn(file, args, {
    cwd,
    env: env as NodeJS.ProcessEnv,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.set(id, child);
  const end = (message: Omit<Extract<FromSpawner, { kind: "exit" }>, "kind" | "id">): void => {
    if (children.delete(id)) send({ kind: "exit", id, ...message });
  };
  child.on("error", (error) => end({ code: null, signal: null, error: error.message }));
  if (child.pid === undefined) return;
  send({ kind: "started", id, pid: child.pid });
  forward(id, "stdout", child.stdout);
  forward(id, "stderr", child.stderr);
  child.on("exit", (code, signal) => {
    // What the command left behind in its group ends with it.
    killGroup(child.pid, "SIGKILL");
    const stray = setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, STRAY_PIPE_MS);
    child.on("close", () => {
      clearTimeout(stray);
      end({ code, signal });
    });
  });
}

/** An argument list that is too long, or too many open files, makes `spawn` throw instead of report. */
function startOrTell(request: Extract<ToSpawner, { kind: "spawn" }>): void {
  try {
    start(request);
  } catch (error) {
    children.delete(request.id);
    const message = error instanceof Error ? error.message : String(error);
    send({ kind: "exit", id: request.id, code: null, signal: null, error: message });
  }
}

process.on("message", (message: ToSpawner) => {
  switch (message.kind) {
    case "spawn":
      startOrTell(message);
      break;
    case "more":
      children.get(message.id)?.[message.stream]?.resume();
      break;
    case "kill":
      killGroup(children.get(message.id)?.pid, message.signal);
      break;
    case "guard":
      guarded.add(message.pid);
      break;
    case "unguard":
      guarded.delete(message.pid);
      break;
  }
});

process.on("disconnect", () => {
  for (const child of children.values()) killGroup(child.pid, "SIGKILL");
  for (const pid of guarded) killGroup(pid, "SIGKILL");
  process.exit(0);
});

// A terminal's Ctrl-C reaches the whole foreground group; when to stop is the worker's decision.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
