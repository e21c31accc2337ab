import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Exit, SpawnRequest } from "#lib/executors/executor.ts";
import { killGroup } from "../kill-group.ts";
import type { FromSpawner, ToSpawner } from "./protocol.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

/** From SIGTERM to SIGKILL when an attempt is stopped. */
const TERM_GRACE_MS = 2_000;

/** Takes a piece of output; what it answers is waited for before more is read. */
export type OnData = (stream: "stdout" | "stderr", bytes: Buffer) => Promise<void>;

type Running = { pid?: number; onData: OnData; onExit: (exit: Exit) => void };

export type Spawner = {
  /** Runs a process to its end; an abort of `signal` terminates, then kills, its whole group. */
  run(request: SpawnRequest, signal: AbortSignal, onData: OnData): Promise<Exit>;
  /** Kills `pid`'s group when this process dies; answers how to take that back. */
  guard(pid: number): () => void;
  stop(): Promise<void>;
};

/** A spawner that dies again and again is started again only so often. */
const RESTART_MS = 200;

/** Starts the spawner; should it ever die, what it ran is killed and reported, and a new one takes over. */
export function createSpawner(env: Record<string, string>): Spawner {
  const running = new Map<number, Running>();
  const guarded = new Set<number>();
  let lastId = 0;
  let stopped = false;
  let child: ChildProcess | undefined;

  const send = (message: ToSpawner): boolean => {
    if (!child?.connected) return false;
    child.send(message, (error) => {
      if (error && "id" in message) running.get(message.id)?.onExit(LOST);
    });
    return true;
  };

  const onMessage = (message: FromSpawner): void => {
    const task = running.get(message.id);
    if (!task) return;
    if (message.kind === "started") task.pid = message.pid;
    else if (message.kind === "exit") task.onExit(message);
    else {
      const { id, stream } = message;
      void task.onData(stream, Buffer.from(message.bytes)).finally(() => send({ kind: "more", id, stream }));
    }
  };

  const launch = (): void => {
    const launched = fork(MAIN, [], {
      serialization: "advanced",
      env: env as NodeJS.ProcessEnv,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child = launched;
    for (const pid of guarded) send({ kind: "guard", pid });
    launched.on("message", onMessage);
    const onEnd = (): void => {
      if (child !== launched) return;
      child = undefined;
      for (const task of running.values()) {
        killGroup(task.pid);
        task.onExit(LOST);
      }
      if (!stopped) setTimeout(launch, RESTART_MS);
    };
    launched.on("exit", onEnd);
    launched.on("error", onEnd);
  };
  launch();

  return {
    run(request, signal, onData) {
      const id = ++lastId;
      const done = Promise.withResolvers<Exit>();
      let force: NodeJS.Timeout | undefined;
      const stop = (): void => {
        send({ kind: "kill", id, signal: "SIGTERM" });
        force = setTimeout(() => send({ kind: "kill", id, signal: "SIGKILL" }), TERM_GRACE_MS);
      };
      const onExit = (exit: Exit): void => {
        running.delete(id);
        clearTimeout(force);
        signal.removeEventListener("abort", stop);
        done.resolve(exit);
      };
      running.set(id, { onData, onExit });
      if (!send({ kind: "spawn", id, ...request })) onExit(LOST);
      else if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
      return done.promise;
    },
    guard(pid) {
      guarded.add(pid);
      send({ kind: "guard", pid });
      return () => {
        guarded.delete(pid);
        send({ kind: "unguard", pid });
      };
    },
    async stop() {
      stopped = true;
      const last = child;
      if (!last?.connected) return;
      const exited = new Promise((resolve) => last.once("exit", resolve));
      last.disconnect();
      await exited;
    },
  };
}

const LOST: Exit = { code: null, signal: null, error: "the spawner process was lost" };
