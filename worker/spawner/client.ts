import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Exit, SpawnRequest, Stream } from "#lib/executors/executor.ts";
import type { FromSpawner, ToSpawner } from "./protocol.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

/** From SIGTERM to SIGKILL when an attempt is stopped. */
const TERM_GRACE_MS = 2_000;

type Running = { onData: (stream: Stream, bytes: Buffer) => void; onExit: (exit: Exit) => void };

export type Spawner = {
  /** Runs a process to its end; an abort of `signal` terminates, then kills, its whole group. */
  run(request: SpawnRequest, signal: AbortSignal, onData: Running["onData"]): Promise<Exit>;
  /** Kills `pid`'s group when this process dies; answers how to take that back. */
  guard(pid: number): () => void;
  stop(): Promise<void>;
};

/** Starts the spawner; should it ever die, what it ran is reported as failed to run and a new one takes over. */
export function createSpawner(env: Record<string, string>): Spawner {
  const running = new Map<number, Running>();
  let lastId = 0;
  let stopped = false;
  let child = launch();

  function launch(): ChildProcess {
    const process_ = fork(MAIN, [], {
      serialization: "advanced",
      env: env as NodeJS.ProcessEnv,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    process_.on("message", (message: FromSpawner) => {
      const task = running.get(message.id);
      if (message.kind === "data") task?.onData(message.stream, Buffer.from(message.bytes));
      else task?.onExit(message);
    });
    process_.on("exit", () => {
      for (const task of running.values()) task.onExit({ code: null, signal: null, error: "the spawner process died" });
      if (!stopped) child = launch();
    });
    process_.on("error", () => undefined);
    return process_;
  }

  const send = (message: ToSpawner): void => {
    if (child.connected) child.send(message);
  };

  return {
    run(request, signal, onData) {
      const id = ++lastId;
      const done = Promise.withResolvers<Exit>();
      let force: NodeJS.Timeout | undefined;
      const stop = (): void => {
        send({ kind: "kill", id, signal: "SIGTERM" });
        force = setTimeout(() => send({ kind: "kill", id, signal: "SIGKILL" }), TERM_GRACE_MS);
      };
      running.set(id, {
        onData,
        onExit: (exit) => {
          running.delete(id);
          clearTimeout(force);
          signal.removeEventListener("abort", stop);
          done.resolve(exit);
        },
      });
      send({ kind: "spawn", id, ...request });
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
      return done.promise;
    },
    guard(pid) {
      send({ kind: "guard", pid });
      return () => send({ kind: "unguard", pid });
    },
    async stop() {
      stopped = true;
      const exited = new Promise((resolve) => child.once("exit", resolve));
      if (child.exitCode !== null || !child.connected) return;
      child.disconnect();
      await exited;
    },
  };
}
