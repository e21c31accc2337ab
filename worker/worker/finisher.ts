import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/domain/errors.ts";
import type { Finish } from "#lib/db/finishes.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";

const MAX_BATCH = 100;
const MAX_BACKOFF_MS = 2_000;

export type Finisher = {
  /** Resolves when the end was accepted, or refused because the attempt is no longer this worker's. */
  submit(end: Finish): Promise<"accepted" | "fenced">;
};

type Waiting = { end: Finish; settled: (result: "accepted" | "fenced") => void };

/**
 * Hands ends in: at once when nothing is under way, else together with all that came meanwhile. A database that
 * is away is waited for; the lease may run out, and then the answer is "fenced".
 */
export function createFinisher(deps: EngineDeps, actor: string): Finisher {
  let waiting: Waiting[] = [];
  let working = false;

  const work = async (): Promise<void> => {
    working = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH);
      waiting = waiting.slice(MAX_BATCH);
      const accepted = new Set(await persist(batch.map((item) => item.end)));
      for (const { end, settled } of batch) settled(accepted.has(end.taskInstanceId) ? "accepted" : "fenced");
    }
    working = false;
  };

  const persist = async (ends: Finish[]): Promise<string[]> => {
    for (let backoffMs = 50; ; backoffMs = Math.min(MAX_BACKOFF_MS, backoffMs * 2)) {
      try {
        return await finish(deps, ends, actor);
      } catch (error) {
        deps.log.warn({ error: messageOf(error), ends: ends.length }, "results could not be handed in; trying again");
        await delay(backoffMs);
      }
    }
  };

  return {
    submit(end) {
      return new Promise((settled) => {
        waiting.push({ end, settled });
        if (!working) void work();
      });
    },
  };
}
