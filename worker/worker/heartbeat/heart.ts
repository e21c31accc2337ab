import { Worker } from "node:worker_threads";
import type { WorkerRef } from "#lib/db/claims.ts";
import type { Heartbeat } from "#lib/db/workers.ts";
import { HEARTBEAT_MS } from "#lib/engine/lease.ts";
import { confirmedAge, createClocks, setAlive } from "./clocks.ts";
import type { Answer, Attempts, Question, ThreadData } from "./messages.ts";

export type Heart = {
  /** Renews the leases of the worker and of these attempts. Rejects when the database could not be asked. */
  beat(attempts: Attempts): Promise<Heartbeat>;
  /** To be called every second or more often: what there is to renew should this thread be busy, and that it is not. */
  know(attempts: Attempts): void;
  /** Milliseconds since the leases were last known to be ours. */
  age(): number;
  stop(): Promise<void>;
};

type Waiting = { resolve(beat: Heartbeat): void; reject(error: Error): void };

/** MiB: it holds a connection and a list of tokens, some 130 bytes for each attempt that the worker holds. */
const BOUNDS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/**
 * Starts the thread that renews the leases. `registeredMsAgo` is how old the one of the registration is; `beatMs`, how
 * often `beat` is going to be called.
 */
export function startHeart(options: {
  url: string;
  worker: WorkerRef;
  registeredMsAgo: number;
  /** The thread has ended by itself, which is a bug: without a heart the worker must not go on. */
  onDeath: (error: Error | undefined) => void;
  beatMs?: number;
}): Heart {
  const { url, worker, registeredMsAgo, onDeath, beatMs = HEARTBEAT_MS } = options;
  const clocks = createClocks(registeredMsAgo);
  setAlive(clocks);
  const workerData: ThreadData = { url, worker, clocks, beatMs };
  const thread = new Worker(new URL("./thread.ts", import.meta.url), { workerData, resourceLimits: BOUNDS });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  let ended = false;

  thread.on("message", (answer: Answer) => {
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ("beat" in answer) asked?.resolve(answer.beat);
    else asked?.reject(new Error(answer.error));
  });
  let failure: Error | undefined;
  thread.on("error", (error: Error) => {
    failure = error;
  });
  thread.on("exit", () => {
    if (!ended) onDeath(failure);
    ended = true;
    for (const { reject } of waiting.values()) reject(new Error("the worker stops"));
    waiting.clear();
  });

  const say = (question: Question): void => thread.postMessage(question);

  return {
    beat(attempts) {
      if (ended) return Promise.reject(new Error("the worker stops"));
      const id = ++lastId;
      const { promise, resolve, reject } = Promise.withResolvers<Heartbeat>();
      waiting.set(id, { resolve, reject });
      say({ id, attempts });
      return promise;
    },
    know(attempts) {
      setAlive(clocks);
      say({ attempts });
    },
    age: () => confirmedAge(clocks),
    async stop() {
      ended = true;
      await thread.terminate();
    },
  };
}
