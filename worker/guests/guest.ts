import { randomUUID } from "node:crypto";
import path from "node:path";
import type { Readable } from "node:stream";
import type { Exit } from "#lib/executors/executor.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { AttemptGroup, Cgroups, GroupLimits } from "../cgroups/groups.ts";
import { NO_GROUPS } from "../cgroups/none.ts";
import { createFrameReader, type Frame, frame, type FrameLimits } from "../frames/frames.ts";
import { findProgram, type GuestSpawner, launchGuestSpawner } from "../spawner/launch.ts";
import { decodeFromSpawner, encodeToSpawner, FROM_SPAWNER, type ProcessUser } from "../spawner/protocol.ts";
import { LOST, type OnData, type RunningProcess, startProcess } from "../spawner/running-process.ts";
import type { UserPool } from "../user-pool.ts";
import { hasOffspring } from "./offspring.ts";

/** How a guest is over: it could not be started, wrote what is no frame of the protocol, or ended. */
export type GuestEnd = { how: "not started" | "broken" | "ended"; why: string };

/** Where guests are started: each in a folder, under a user and in a control group of its own, as far as this machine has them. */
export type GuestPlace = {
  workFolder: string;
  users: UserPool;
  cgroups: Cgroups;
  /** Of one guest with all that it starts. */
  limits: GroupLimits;
};

/**
 * A child process of Node that runs the code of others. A spawner of its own starts it like a task, and ends it with all that it has
 * started when this process ends, however it does. It has two pipes to this process instead of Node's own channel between
 * processes: that one takes messages of its own that no code may send (they hand over handles), of any size. Here this process counts
 * what comes before it keeps it, and the caller checks it before it uses it.
 */
export type Guest = {
  /** Undefined before it runs and after its end. */
  pid(): number | undefined;
  /** What the child has no room for is kept here: callers send one request at a time. */
  send(letter: string, id: number, payload: Buffer): void;
  isOver(): boolean;
  /** Whether a process that it has started is there. False where the system does not tell. */
  hasOffspring(): boolean;
  /** While it rests nothing of it runs, whatever it has left to do. */
  rest(): void;
  resume(): void;
  kill(): void;
};

export type GuestOptions = {
  /** The module that it runs, and its arguments. */
  module: string;
  args: readonly string[];
  cwd: string;
  env: Record<string, string>;
  place: GuestPlace;
  /** What it may send, and how much of it. */
  limits: FrameLimits;
  /** Given one frame after the other; while it works on one, the child waits. What it throws ends the child as broken. */
  take: (frame: Frame) => void | Promise<void>;
  /** Given what processes write that the guest has started, or Node at its end. Never rejects. */
  output?: OnData;
  /** Called once, behind the last frame that it has written and when nothing of it is left. */
  over: (end: GuestEnd) => void;
};

/** What a process has written before its end is heard within this time, unless something else holds its pipe. */
const LAST_WORDS_MS = 1_000;

/** A spawner that does not end its guest within this time is killed itself, and the guest with it. */
const KILL_WITHIN_MS = 5_000;

const DROP: OnData = () => Promise.resolve();

export function startGuest(options: GuestOptions): Guest {
  const begun = begin(options);
  if (begun instanceof Error) {
    queueMicrotask(() => options.over({ how: "not started", why: begun.message }));
    return NOBODY;
  }
  const { spawner, toGuest, fromGuest, group, running, closed, ending } = begun;
  let end: GuestEnd | undefined;
  let isHeard = true;
  let force: NodeJS.Timeout | undefined;
  const kill = (): void => {
    ending.abort();
    force ??= setTimeout(() => spawner.kill("SIGKILL"), KILL_WITHIN_MS);
  };
  // A write to what has just died is told by its end.
  toGuest.on("error", () => undefined);
  const read = readFrames(fromGuest, options).then((trouble) => {
    isHeard = false;
    if (trouble === undefined) return;
    end ??= { how: "broken", why: trouble };
    kill();
  });
  void running.exit.then(async (exit) => {
    spawner.stdin.end();
    force ??= setTimeout(() => spawner.kill("SIGKILL"), KILL_WITHIN_MS);
    await within(LAST_WORDS_MS, read);
    // What it has left running may hold the other ends: nothing of that is heard, and no descriptor kept for it.
    fromGuest.destroy();
    toGuest.destroy();
    await closed;
    clearTimeout(force);
    options.place.users.giveBack(begun.user);
    options.over((end ??= endOf(exit)));
  });
  return {
    pid: running.pid,
    send: (letter, id, payload) => void (toGuest.writable && toGuest.write(frame(letter, id, payload))),
    isOver: () => end !== undefined || !isHeard || ending.signal.aborted,
    hasOffspring: () => hasOffspring({ group: group.procs[0], pid: running.pid(), spawner: spawner.pid }),
    rest: () => signal(running.pid(), "SIGSTOP"),
    resume: () => signal(running.pid(), "SIGCONT"),
    kill,
  };
}

/** Of what could not be started. */
const NOBODY: Guest = {
  pid: () => undefined,
  send: () => undefined,
  isOver: () => true,
  hasOffspring: () => false,
  rest: () => undefined,
  resume: () => undefined,
  kill: () => undefined,
};

/** One that is gone needs no signal. */
function signal(pid: number | undefined, name: "SIGSTOP" | "SIGCONT"): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch {
    // Its end is about to be told.
  }
}

type Begun = GuestSpawner & {
  user: ProcessUser | undefined;
  group: AttemptGroup;
  running: RunningProcess;
  /** Resolved when its spawner has ended too. */
  closed: Promise<void>;
  /** Aborted when it is to end. */
  ending: AbortController;
};

/** Node opens its debugger on SIGUSR1, which code of another DAG that runs as the same user may send. */
const NO_DEBUGGER = ["--disable-sigusr1"].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));

/** Takes a user and a group for it, and has it started; why not, where one of them is not to be had. */
function begin({ module, args, cwd, env, place, output = DROP }: GuestOptions): Begun | Error {
  const program = findProgram(env);
  let user: ProcessUser | undefined;
  let group: AttemptGroup | undefined;
  const giveUp = (error: unknown): Error => {
    void group?.close();
    place.users.giveBack(user);
    return error instanceof Error ? error : new Error(messageOf(error));
  };
  try {
    user = place.users.take();
    // Node would have to enter a group itself to start a process in it.
    group = (program === "perl" ? place.cgroups : NO_GROUPS).open(place.limits);
  } catch (error) {
    return giveUp(error);
  }
  const launched = launchGuestSpawner(program, env);
  if (launched instanceof Error) return giveUp(launched);
  const { spawner } = launched;
  const ending = new AbortController();
  const folder = path.join(place.workFolder, `guest-${randomUUID()}`);
  const running = startProcess({
    id: 1,
    request: {
      file: process.execPath,
      args: [...process.execArgv, ...NO_DEBUGGER, ...heapOf(place.limits), module, ...args],
      // The home of another user is not for this one to read.
      env: { ...env, HOME: folder, TMPDIR: folder },
      folder,
      cwd,
      files: {},
    },
    signal: ending.signal,
    onData: output,
    user,
    group,
    memory: place.limits.memory,
    send: (message) => spawner.stdin.write(encodeToSpawner(message)) || true,
  });
  return { ...launched, user, group, running, closed: hearSpawner(launched, running), ending };
}

/** A heap that is full says so; what is beside it has the rest. Also where there is no control group. */
function heapOf({ memory }: GroupLimits): string[] {
  return memory === 0 ? [] : [`--max-old-space-size=${Math.ceil(memory * 0.75)}`];
}

/**
 * Resolves when the spawner has ended. What it started may still hold the other ends of its streams, so they are not waited for
 * without end: a spawner that has ended says nothing more.
 */
function hearSpawner({ spawner, toGuest, fromGuest }: GuestSpawner, running: RunningProcess): Promise<void> {
  const closed = Promise.withResolvers<void>();
  const read = createFrameReader(FROM_SPAWNER, (one) => running.take(decodeFromSpawner(one)));
  spawner.stdout.on("data", (bytes: Buffer) => {
    try {
      read(bytes);
    } catch {
      // Nothing that it says from here on can be understood: its guest is lost with it.
      spawner.stdout.removeAllListeners("data");
      spawner.kill("SIGKILL");
    }
  });
  // The end is told by `close`; a write to what has just died is none of its own.
  spawner.stdin.on("error", () => undefined);
  spawner.on("error", () => undefined);
  const over = (): void => {
    running.lost();
    closed.resolve();
  };
  spawner.on("close", over);
  spawner.on("exit", () => {
    setTimeout(() => {
      for (const stream of [spawner.stdin, spawner.stdout, toGuest, fromGuest]) stream.destroy();
      over();
    }, LAST_WORDS_MS).unref();
  });
  return closed.promise;
}

function endOf(exit: Exit): GuestEnd {
  if (exit === LOST) return { how: "ended", why: LOST.error! };
  if (exit.error !== undefined) return { how: "not started", why: exit.error };
  const why = exit.signal ?? `exit code ${exit.code}`;
  if (exit.outOfMemory === undefined) return { how: "ended", why };
  return { how: "ended", why: `${why}: it and what it started had more than ${exit.outOfMemory} MiB of memory` };
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
