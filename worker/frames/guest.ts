import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { messageOf } from "#lib/domain/errors.ts";
import { FROM_PARENT, TO_PARENT } from "./child-end.ts";
import { killGroup } from "../kill-group.ts";
import { createFrameReader, type Frame, frame, type FrameLimits } from "./frames.ts";

/** How a guest is over: it could not be started, wrote what is no frame of the protocol, or ended. */
export type GuestEnd = { how: "not started" | "broken" | "ended"; why: string };

/**
 * A child process of Node that runs the code of others. It has two pipes to this process instead of Node's own channel between
 * processes: that one takes messages of its own that no code may send (they hand over handles), of any size. Here this process counts
 * what comes before it keeps it, and the caller checks it before it uses it.
 */
export type Guest = {
  pid: number | undefined;
  /** What the child has no room for is kept here: callers send one request at a time. */
  send(letter: string, id: number, payload: Buffer): void;
  isOver(): boolean;
  kill(): void;
};

export type GuestOptions = {
  /** The module that it runs, and its arguments. */
  module: string;
  args: readonly string[];
  cwd: string;
  env: Record<string, string>;
  user?: { uid: number; gid: number } | undefined;
  /**
   * Leads a group of its own, with which all that it starts is killed. Somebody else must then end it when this process is killed
   * or interrupted; without it, a terminal's Ctrl-C reaches it too.
   */
  leadsGroup: boolean;
  /** What it may send, and how much of it. */
  limits: FrameLimits;
  /** Given one frame after the other; while it works on one, the child waits. What it throws ends the child as broken. */
  take: (frame: Frame) => void | Promise<void>;
  /** Called once, behind the last frame that it has written. */
  over: (end: GuestEnd) => void;
};

/** What a process has written before its end is heard within this time, unless something else holds its pipe. */
const LAST_WORDS_MS = 1_000;

export function startGuest(options: GuestOptions): Guest {
  const child = launch(options);
  let end: GuestEnd | undefined;
  const kill = (): void => {
    if (options.leadsGroup) killGroup(child.pid);
    else child.kill("SIGKILL");
  };
  const over = (how: GuestEnd["how"], why: string): void => {
    if (end !== undefined) return;
    end = { how, why };
    options.over(end);
  };
  child.on("error", (error) => over("not started", error.message));
  // Without a descriptor to be had there are no pipes: the error above tells it.
  const [input, output] = [child.stdio?.[FROM_PARENT] as Writable | undefined, child.stdio?.[TO_PARENT] as Readable];
  if (input === undefined) return { pid: undefined, send: () => undefined, isOver: () => true, kill };
  // A write to what has just died is told by its end.
  input.on("error", () => undefined);
  const read = readFrames(output, options).then((trouble) => {
    if (trouble === undefined) return;
    over("broken", trouble);
    kill();
  });
  child.on("exit", (code, signal) => {
    // Whatever the code started ends with its process.
    if (options.leadsGroup) kill();
    void within(LAST_WORDS_MS, read).then(() => {
      over("ended", signal ?? `exit code ${code}`);
      // What it has left running may hold the other ends: nothing of that is heard, and no descriptor kept for it.
      output.destroy();
      input.destroy();
    });
  });
  return {
    pid: child.pid,
    send: (letter, id, payload) => void (input.writable && input.write(frame(letter, id, payload))),
    isOver: () => end !== undefined || child.pid === undefined || child.exitCode !== null || child.signalCode !== null,
    kill,
  };
}

/** Node opens its debugger on SIGUSR1, which code of another DAG that runs as the same user may send. */
const NO_DEBUGGER = ["--disable-sigusr1"].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));

function launch({ module, args, cwd, env, user, leadsGroup }: GuestOptions): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, ...NO_DEBUGGER, module, ...args], {
    cwd,
    env: env as NodeJS.ProcessEnv,
    ...user,
    detached: leadsGroup,
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
}

/** Resolves at the end of the pipe, with what was wrong when it was broken off. Never rejects. */
async function readFrames(output: Readable, { limits, take }: GuestOptions): Promise<string | undefined> {
  const frames: Frame[] = [];
  const cut = createFrameReader(limits, (one) => frames.push(one));
  try {
    for await (const bytes of output as AsyncIterable<Buffer>) {
      const trouble = troubleOf(() => cut(bytes));
      for (const one of frames.splice(0)) await take(one);
      if (trouble !== undefined) return trouble;
    }
    return undefined;
  } catch (error) {
    return isTornDown(error) ? undefined : messageOf(error);
  }
}

function troubleOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The pipe ended under its reader, as at the child's death. */
function isTornDown(error: unknown): boolean {
  const codes = ["ERR_STREAM_PREMATURE_CLOSE", "ECONNRESET", "EPIPE"];
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Resolves when `work` has, or when so long has passed. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const timer = setTimeout(limit.resolve, ms);
  await Promise.race([work, limit.promise]);
  clearTimeout(timer);
}
