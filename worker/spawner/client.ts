import { setTimeout as delay } from "node:timers/promises";
import type { Exit, SpawnRequest } from "#lib/executors/executor.ts";
import type { Log } from "#lib/domain/log.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { ResourceAmount } from "#lib/domain/model/resources.ts";
import type { AttemptGroup, Cgroups, GroupLimits } from "../cgroups/groups.ts";
import { NO_GROUPS } from "../cgroups/none.ts";
import { OWN_USER, type UserPool } from "../user-pool.ts";
import { findProgram, launchSpawner, type SpawnerProcess, type SpawnerProgram } from "./launch.ts";
import { startProcess, type OnData, type RunningProcess } from "./running-process.ts";
import { createFrameReader } from "../frames/frames.ts";
import {
  decodeFromSpawner,
  encodeToSpawner,
  FROM_SPAWNER,
  type FromSpawner,
  type ProcessUser,
  type ToSpawner,
} from "./protocol.ts";

export type Spawner = {
  /**
   * Runs a process to its end; an abort of `signal` terminates, then kills, its whole group. What it asks for in
   * `limits` is all that it gets.
   */
  run(request: SpawnRequest, signal: AbortSignal, onData: OnData, limits?: ResourceAmount): Promise<Exit>;
  stop(): Promise<void>;
};

export type SpawnerOptions = {
  /** The spawner's own environment; a process is given nothing of it. */
  env: Record<string, string>;
  /** Without it, Perl, or Node where there is no Perl. */
  program?: SpawnerProgram;
  log: Pick<Log, "info" | "warn">;
  cgroups?: Cgroups;
  /** Processes and threads that one attempt may have. */
  maxPids?: number;
  /** Who processes run as; without it, the user of this one. */
  users?: UserPool;
  /** Between two pings. */
  pingMs?: number;
};

/** From SIGTERM to SIGKILL when an attempt is stopped. */
const TERM_GRACE_MS = 2_000;

/** Below it not even a shell starts, and the kernel might pick the spawner, which is there for a moment too. */
const MIN_MEMORY_MIB = 8;

/** A spawner that dies again and again is started again only so often. */
const RESTART_MS = 200;
const MAX_WAIT_MS = 10_000;

/** A spawner that has not answered so many pings is ended. Pings, not seconds: a worker that stood still has asked once. */
const PING_MS = 1_000;
const MAX_UNANSWERED = 10;

/** Starts the spawner; should it ever die, what it ran is killed and reported, and a new one takes over. */
export function createSpawner(options: SpawnerOptions): Spawner {
  const { log, maxPids = 0, users = OWN_USER, program = findProgram(options.env) } = options;
  // Node would have to enter a group itself to start a process in it.
  const cgroups = program === "perl" ? (options.cgroups ?? NO_GROUPS) : NO_GROUPS;
  if (program === "node")
    log.info({}, "there is no Perl here: processes are started by Node, more slowly and without limits");
  const running = new Map<number, RunningProcess>();
  let lastId = 0;
  let stopped = false;
  let child: SpawnerProcess | undefined;
  /** Pings without a pong. */
  let unanswered = 0;
  let there = Promise.withResolvers<void>();

  /** False when there is no spawner to send to. */
  const send = (message: ToSpawner): boolean => {
    if (child === undefined) return false;
    child.stdin.write(encodeToSpawner(message));
    return true;
  };

  const onMessage = (message: FromSpawner): void => {
    if (message.kind === "pong") unanswered = 0;
    else if (message.kind === "notice") log.warn({ spawner: program }, message.text);
    else running.get(message.id)?.take(message);
  };

  const onEnd = (): void => {
    if (child !== undefined) there = Promise.withResolvers();
    child = undefined;
    for (const started of running.values()) started.lost();
    if (!stopped) setTimeout(launch, RESTART_MS);
  };

  const launch = (): void => {
    if (stopped) return;
    const launched = launchSpawner(program, options.env);
    if (launched instanceof Error) {
      log.warn({ error: launched.message }, "no spawner could be started; trying again");
      return onEnd();
    }
    child = launched;
    unanswered = 0;
    there.resolve();
    const read = createFrameReader(FROM_SPAWNER, (one) => onMessage(decodeFromSpawner(one)));
    launched.stdout.on("data", (bytes: Buffer) => {
      try {
        read(bytes);
      } catch (error) {
        // Nothing that it says from here on can be understood: what it runs is lost with it, and reported as that.
        log.warn({ error: messageOf(error) }, "the spawner broke its protocol; it is ended, and another one started");
        launched.stdout.removeAllListeners("data");
        launched.kill("SIGKILL");
      }
    });
    // The end is told by `close`; a write to what has just died is none of its own.
    launched.stdin.on("error", () => undefined);
    launched.on("error", () => undefined);
    launched.on("close", onEnd);
  };
  launch();

  // It could stand still, and with it every start and every kill, while all else of the worker seems well.
  const pinging = setInterval(() => {
    if (unanswered++ < MAX_UNANSWERED) return void send({ kind: "ping", id: unanswered });
    log.warn({ spawner: program }, "the spawner does not answer; it is ended, and another one started");
    child?.kill("SIGKILL");
  }, options.pingMs ?? PING_MS);

  return {
    async run(request, signal, onData, asked = NOTHING_ASKED) {
      const id = ++lastId;
      const limits = limitsOf(asked, maxPids);
      let user: ProcessUser | undefined;
      let group: AttemptGroup | undefined;
      try {
        // One that has died is there again in a moment, and what never began must not fail for it.
        if (child === undefined) await soon(there.promise, signal);
        user = users.take();
        group = cgroups.open(limits);
        const started = startProcess({
          id,
          request,
          signal,
          onData,
          user,
          group,
          memory: limits.memory,
          send,
          termGraceMs: TERM_GRACE_MS,
        });
        running.set(id, started);
        return await started.exit;
      } catch (error) {
        await group?.close();
        return { code: null, signal: null, error: messageOf(error) };
      } finally {
        running.delete(id);
        users.giveBack(user);
      }
    },
    async stop() {
      stopped = true;
      there.resolve();
      const last = child;
      if (last !== undefined) {
        const closed = new Promise((resolve) => last.once("close", resolve));
        last.stdin.end();
        await closed;
      }
      clearInterval(pinging);
    },
  };
}

/** Waits for it, but not for long, and not beyond an abort. */
async function soon(there: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const limit = delay(MAX_WAIT_MS, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  await Promise.race([there, limit.catch(() => undefined)]);
  over.abort();
}

const NOTHING_ASKED: ResourceAmount = { cpu: 0, memory: 0 };

function limitsOf({ cpu, memory }: ResourceAmount, pids: number): GroupLimits {
  return { cpu, memory: memory === 0 ? 0 : Math.max(MIN_MEMORY_MIB, memory), pids };
}
