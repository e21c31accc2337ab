import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { CallResult, FunctionCall, Stream } from "#lib/executors/executor.ts";
import type { Frame } from "../frames/frames.ts";
import { type Guest, type GuestEnd, type GuestPlace, startGuest } from "../guests/guest.ts";
import { NO_PLACES, type PluginPlaces } from "../plugins/places.ts";
import {
  ABORT,
  CALL,
  END,
  endOfCall,
  FROM_CHILD,
  type FromFunctionChild,
  STDERR,
  type ToFunctionChild,
} from "./protocol.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** Idle children kept warm; beyond it the one unused for longest ends. */
export const MAX_IDLE = 4;
/** After so long without a call a child rests. Before, the next step of a chain is on its way, and stopping it would cost more. */
const REST_AFTER_MS = 100;

/**
 * When a child has had enough: after so many calls, or when it has grown by so much since it was first looked at, which is
 * every so many calls. What code keeps by mistake must not become the machine's.
 */
export type Wear = { maxCalls: number; maxGrowthBytes: number; lookEvery: number };
const WEAR: Wear = { maxCalls: 10_000, maxGrowthBytes: 256 * 1024 * 1024, lookEvery: 100 };

type Warm = {
  bundle: string;
  cwd: string;
  guest: Guest;
  /** Also the number of the call that it is at, or was at last. */
  calls: number;
  /** Who hears of the call that it is at. */
  heard: Heard | undefined;
  /** Begins its rest. */
  rest?: NodeJS.Timeout;
  /** A call of it has ended twice: it is not to have another. */
  isSpent: boolean;
  /** Resident bytes when it was first looked at. */
  firstBytes?: number;
};

/** A piece of output; while it is being kept, the function waits with the next. */
type OnData = (stream: Stream, bytes: Buffer) => void | Promise<void>;

type Heard = { data: OnData; end: (end: FromFunctionChild) => Promise<void>; gone: (why: string) => void };

export type FunctionPool = {
  /**
   * Never throws for what the function does. An abort of `signal` aborts the function's own; two seconds later its process is killed. What it
   * returns after the abort does not count.
   */
  call(call: FunctionCall, signal: AbortSignal, onData: OnData): Promise<CallResult>;
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
  place: GuestPlace;
  wear?: Wear;
}): FunctionPool {
  const { wear = WEAR } = options;
  let stopped = false;
  const idle: Warm[] = [];
  /** Until nothing of it is left. */
  const all = new Map<Warm, Promise<void>>();

  const launch = (bundle: string, cwd: string): Warm => {
    const left = Promise.withResolvers<void>();
    const warm: Warm = { bundle, cwd, guest: undefined as never, calls: 0, heard: undefined, isSpent: false };
    warm.guest = startGuest({
      module: CHILD,
      args: [options.dagsDir, JSON.stringify(options.plugins ?? NO_PLACES)],
      cwd,
      env: options.env,
      place: options.place,
      limits: FROM_CHILD,
      take: (frame) => hear(warm, frame),
      output: async (stream, bytes) => warm.heard?.data(stream, bytes),
      over(end) {
        all.delete(warm);
        clearTimeout(warm.rest);
        const at = idle.indexOf(warm);
        if (at >= 0) idle.splice(at, 1);
        warm.heard?.gone(TOLD[end.how](end.why));
        left.resolve();
      },
    });
    all.set(warm, left.promise);
    return warm;
  };

  const take = (bundle: string, cwd: string): Warm => {
    const at = idle.findLastIndex((warm) => warm.bundle === bundle && !warm.guest.isOver());
    if (at < 0) return launch(bundle, cwd);
    const warm = idle.splice(at, 1)[0]!;
    clearTimeout(warm.rest);
    warm.guest.resume();
    return warm;
  };

  /** What a call has left to a timer or a thread is nobody's while no call is at work. */
  const restLater = (warm: Warm): void => {
    warm.rest = setTimeout(() => {
      warm.guest.rest();
      if (warm.guest.hasOffspring()) warm.guest.kill();
    }, REST_AFTER_MS).unref();
  };

  const giveBack = (warm: Warm): void => {
    if (warm.guest.isOver()) return;
    if (stopped) return warm.guest.kill();
    if (isWorn(warm, wear)) {
      warm.guest.kill();
      // The next call finds one that has started already.
      idle.push(launch(warm.bundle, warm.cwd));
    } else {
      idle.push(warm);
      restLater(warm);
    }
    const oldest = idle.length > MAX_IDLE ? idle.shift() : undefined;
    oldest?.guest.kill();
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
      const result = await exchange(warm, message, signal, onData);
      giveBack(warm);
      return result;
    },
    async stop() {
      stopped = true;
      const ended = [...all.values()];
      for (const { guest } of all.keys()) guest.kill();
      await Promise.all(ended);
    },
  };
}

const TOLD: Record<GuestEnd["how"], (why: string) => string> = {
  "not started": (why) => `the function's process could not be started: ${why}`,
  broken: (why) => `the function's process wrote into the pipe to its worker, and was ended: ${why}`,
  ended: (why) => `the function's process ended with ${why}`,
};

function isWorn(warm: Warm, { maxCalls, maxGrowthBytes, lookEvery }: Wear): boolean {
  // What a call has started is not to see the next one.
  if (warm.isSpent || warm.calls >= maxCalls || warm.guest.hasOffspring()) return true;
  if (warm.calls % lookEvery !== 0) return false;
  const bytes = residentBytes(warm.guest.pid());
  warm.firstBytes ??= bytes;
  return bytes !== undefined && bytes - warm.firstBytes! > maxGrowthBytes;
}

const PAGE_BYTES = 4_096;

/** Undefined where the system does not tell. */
function residentBytes(pid: number | undefined): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_BYTES;
  } catch {
    return undefined;
  }
}

/** What a call has left running may still write: under the number of that call, which nobody hears any more. */
function hear(warm: Warm, { letter, id, payload }: Frame): void | Promise<void> {
  const { heard, calls } = warm;
  if (letter === END) {
    // The call after it is not to suffer for that.
    if (id < calls) return void (warm.isSpent = true);
    if (heard === undefined || id !== calls) throw new Error("it ends a call that it is not at");
    return heard.end(endOfCall(payload));
  }
  if (payload.length === 0) throw new Error("it writes pieces of output with nothing in them");
  if (id > calls) throw new Error("it writes output of a call that it was not given");
  if (id === calls) return heard?.data(letter === STDERR ? "stderr" : "stdout", payload);
}

/** From the abort of a call to the end of its process. */
const GRACE_MS = 2_000;

/** Sends one call and waits for its end, or the child's. */
async function exchange(
  warm: Warm,
  message: ToFunctionChild,
  signal: AbortSignal,
  onData: OnData,
): Promise<CallResult> {
  if (signal.aborted) return ABORTED;
  const done = Promise.withResolvers<CallResult>();
  const id = ++warm.calls;
  let force: NodeJS.Timeout | undefined;
  const abort = (): void => {
    warm.guest.send(ABORT, id, Buffer.alloc(0));
    force = setTimeout(warm.guest.kill, GRACE_MS);
  };
  const ended = async (end: FromFunctionChild): Promise<void> => {
    const result = signal.aborted ? ABORTED : resultOf(end);
    // The log shows where a function failed; the attempt's error is the first line of it.
    if ("error" in end) await onData("stderr", Buffer.from(`${end.error}\n`));
    done.resolve(result);
  };
  const gone = (error: string): void => done.resolve({ ok: false, error });
  warm.heard = { data: onData, end: ended, gone };
  signal.addEventListener("abort", abort, { once: true });
  if (warm.guest.isOver()) gone("the function's process had ended before it could be called");
  else warm.guest.send(CALL, id, Buffer.from(JSON.stringify(message)));
  try {
    return await done.promise;
  } finally {
    warm.heard = undefined;
    clearTimeout(force);
    signal.removeEventListener("abort", abort);
  }
}

const ABORTED: CallResult = { ok: false, error: "the attempt was ended while the function ran" };

function resultOf(end: FromFunctionChild): CallResult {
  switch (end.kind) {
    case "returned": {
      const left = Object.keys(end.pushed).length === 0 ? {} : { pushed: end.pushed };
      return { ok: true, value: end.output, ...left };
    }
    case "deferred":
      return { ok: "not yet", afterMs: end.afterMs, reason: end.reason };
    case "unstorable":
    case "threw": {
      const reason = end.kind === "unstorable" ? end.reason : undefined;
      return { ok: false, error: end.error.split("\n", 1)[0]!, reason };
    }
  }
}
