import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { CallResult, FunctionCall, Stream } from "#lib/executors/executor.ts";
import { killGroup } from "../kill-group.ts";
import { NO_PLACES, type PluginPlaces } from "../plugins/places.ts";
import type { UserPool } from "../user-pool.ts";
import { isFromFunctionChild, type ToFunctionChild } from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** Idle children kept warm; beyond it the one unused for longest ends. */
const MAX_IDLE = 4;

/**
 * When a child has had enough: after so many calls, or when it has grown by so much since it was first looked at, which is
 * every so many calls. What code keeps by mistake must not become the machine's.
 */
export type Wear = { maxCalls: number; maxGrowthBytes: number; lookEvery: number };
const WEAR: Wear = { maxCalls: 10_000, maxGrowthBytes: 256 * 1024 * 1024, lookEvery: 100 };

type Warm = {
  bundle: string;
  cwd: string;
  child: ChildProcess;
  unguard: () => void;
  calls: number;
  /** Resident bytes when it was first looked at. */
  firstBytes?: number;
};

export type FunctionPool = {
  call(call: FunctionCall, signal: AbortSignal, onData: (stream: Stream, bytes: Buffer) => void): Promise<CallResult>;
  stop(): Promise<void>;
};

/**
 * Warm child processes for DAG functions, one call at a time each and never shared between versions of the code.
 * How many run at once is the caller's business: it has the slots.
 */
export function createFunctionPool(options: {
  dagsDir: string;
  /** What DAG code may import beside its own and its packages. */
  plugins?: PluginPlaces;
  env: Record<string, string>;
  folderOf: (bundle: string) => Promise<string>;
  guard: (pid: number) => () => void;
  /** Who functions run as; without it, the user of this process. */
  users?: UserPool;
  wear?: Wear;
}): FunctionPool {
  const { wear = WEAR } = options;
  let stopped = false;
  const idle: Warm[] = [];
  const all = new Set<ChildProcess>();

  const launch = (bundle: string, cwd: string): Warm => {
    const user = options.users?.forFunctions();
    const child = fork(CHILD, [options.dagsDir, JSON.stringify(options.plugins ?? NO_PLACES)], {
      cwd,
      // The home of another user is not for this one to read.
      env: { ...options.env, ...(user && { HOME: os.tmpdir() }) } as unknown as NodeJS.ProcessEnv,
      ...user,
      serialization: "advanced",
      detached: true,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const unguard = child.pid === undefined ? () => undefined : options.guard(child.pid);
    const warm: Warm = { bundle, cwd, child, unguard, calls: 0 };
    all.add(child);
    child.on("error", () => undefined);
    child.on("exit", () => {
      all.delete(child);
      // Whatever the function started ends with its process.
      killGroup(child.pid);
      warm.unguard();
      const at = idle.indexOf(warm);
      if (at >= 0) idle.splice(at, 1);
    });
    return warm;
  };

  const take = (bundle: string, cwd: string): Warm => {
    const at = idle.findLastIndex((warm) => warm.bundle === bundle && isUsable(warm.child));
    return at >= 0 ? idle.splice(at, 1)[0]! : launch(bundle, cwd);
  };

  const giveBack = (warm: Warm): void => {
    if (!isUsable(warm.child) || stopped) return;
    warm.calls++;
    if (isWorn(warm, wear)) {
      killGroup(warm.child.pid);
      // The next call finds one that has started already.
      idle.push(launch(warm.bundle, warm.cwd));
    } else idle.push(warm);
    const oldest = idle.length > MAX_IDLE ? idle.shift() : undefined;
    if (oldest) killGroup(oldest.child.pid);
  };

  return {
    async call(call, signal, onData) {
      const folder = await options.folderOf(call.bundle);
      const warm = take(call.bundle, folder);
      const message = {
        file: path.join(folder, call.module),
        module: call.module,
        export: call.export,
        argument: call.argument,
      };
      const result = await exchange(warm.child, message, signal, onData);
      giveBack(warm);
      return result;
    },
    async stop() {
      stopped = true;
      const ended = [...all].map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of all) killGroup(child.pid);
      await Promise.all(ended);
    },
  };
}

function isWorn(warm: Warm, { maxCalls, maxGrowthBytes, lookEvery }: Wear): boolean {
  if (warm.calls >= maxCalls) return true;
  if (warm.calls % lookEvery !== 0) return false;
  const bytes = residentBytes(warm.child.pid!);
  warm.firstBytes ??= bytes;
  return bytes !== undefined && bytes - warm.firstBytes! > maxGrowthBytes;
}

const PAGE_BYTES = 4_096;

/** Undefined where the system does not tell. */
function residentBytes(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_BYTES;
  } catch {
    return undefined;
  }
}

/** A process may have ended although its channel still holds unread messages. */
function isUsable(child: ChildProcess): boolean {
  return child.connected && child.exitCode === null && child.signalCode === null;
}

/** Sends one call and waits for its answer, for the child's death, or for `signal`, which kills the child. */
async function exchange(
  child: ChildProcess,
  message: ToFunctionChild,
  signal: AbortSignal,
  onData: (stream: Stream, bytes: Buffer) => void,
): Promise<CallResult> {
  const done = Promise.withResolvers<CallResult>();
  const onMessage = (answer: unknown): void => {
    if (!isFromFunctionChild(answer)) return;
    if (answer.kind === "log") onData(answer.stream, Buffer.from(answer.bytes));
    else if (answer.kind === "returned") {
      const pushed = Object.entries(answer.pushed ?? {}).map(([key, json]) => [key, parsed(json)] as const);
      const left = pushed.length === 0 ? {} : { pushed: Object.fromEntries(pushed) };
      done.resolve({ ok: true, value: parsed(answer.json), ...left });
    } else if (answer.kind === "deferred") {
      done.resolve({ ok: "not yet", afterMs: answer.afterMs, reason: answer.reason });
    } else {
      // The log shows where a function failed; the attempt's error is the first line of it.
      onData("stderr", Buffer.from(`${answer.error}\n`));
      const reason = answer.kind === "unstorable" ? answer.reason : undefined;
      done.resolve({ ok: false, error: answer.error.split("\n", 1)[0]!, reason });
    }
  };
  const onExit = (code: number | null, killedBy: string | null): void => {
    const how = killedBy === null ? `exit code ${code}` : killedBy;
    done.resolve({ ok: false, error: `the function's process ended with ${how}` });
  };
  const kill = (): void => killGroup(child.pid);
  child.on("message", onMessage);
  child.once("exit", onExit);
  signal.addEventListener("abort", kill, { once: true });
  const unsent = (error: Error | null): void => {
    if (error) done.resolve({ ok: false, error: `the function's process could not be called: ${error.message}` });
  };
  if (signal.aborted) kill();
  else if (isUsable(child)) child.send(message, unsent);
  else unsent(new Error("it has ended"));
  try {
    return await done.promise;
  } finally {
    child.off("message", onMessage);
    child.off("exit", onExit);
    signal.removeEventListener("abort", kill);
  }
}

/** Text that is not JSON did not come from our side of the child; it is taken as it is. */
function parsed(json: string | undefined): unknown {
  if (json === undefined) return undefined;
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return json;
  }
}
