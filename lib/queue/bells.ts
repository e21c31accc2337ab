import type { Db as BossDb, PgBoss } from "pg-boss";
import type pg from "pg";
import { ringingBells } from "#lib/db/bells.ts";
import type { Tx } from "#lib/db/pool.ts";
import { inTx, retried } from "#lib/db/tx.ts";
import { ownName } from "#lib/domain/lanes.ts";

/**
 * pg-boss as a bell: one queue for each lane and for each worker, of policy `short`, so that it holds one waiting job
 * however often it is rung. A bell says "there may be something to claim here" and carries nothing: which attempts there
 * are is in `live_attempt` alone, and a bell that is lost or rung in vain costs time, never a task.
 */
export type Bells = {
  /**
   * Rings soon, in the background, and once for all rings of the same moment. Names are those of announcements: of lanes
   * (`default.process`) and of workers (`@name`); others have no bell. After `delayMs`, it is heard no earlier than that.
   */
  ring(names: Iterable<string>, delayMs?: number): void;
  /** Resolves when all that was rung so far is in the database, or could not be. */
  flush(): Promise<void>;
  /** Which of these have been rung. They are silent again, committed, when this resolves: the caller claims after it. */
  fetch(names: readonly string[]): Promise<string[]>;
  /** Makes them, when they are not there yet. */
  make(names: readonly string[]): Promise<void>;
  /** Removes the bells of workers that are not among those that `readIds` returns. Reports each that it cannot remove. */
  removeOrphans(readIds: () => Promise<readonly string[]>): Promise<void>;
};

/** NOTIFY has told who listens already: a bell may be a little late, and one ring is enough for many admissions. */
const RING_EVERY_MS = 250;

const PREFIX = "bell/";
const OF_WORKER = `${PREFIX}worker/`;

/** The pg-boss queue of a name; undefined for what has no bell. */
function queueOf(name: string): string | undefined {
  if (name.startsWith("@")) return OF_WORKER + name.slice(1).replaceAll(/[^\w.-]/g, "_");
  return name.startsWith("*") ? undefined : PREFIX + name;
}

export function createBells(
  boss: PgBoss,
  pool: pg.Pool,
  on: (db: pg.Pool | Tx) => BossDb,
  onError: (error: unknown) => void,
): Bells {
  /** What is to be rung, and with how much delay. */
  let pending = new Map<string, number>();
  let ringing: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  const make = async (queue: string): Promise<void> => {
    await boss.createQueue(queue, { policy: "short", retryLimit: 0, deleteAfterSeconds: 60 });
  };

  const ringOne = async (queue: string, delayMs: number): Promise<void> => {
    const send = (): Promise<unknown> => boss.send(queue, null, { startAfter: Math.ceil(delayMs / 1_000) });
    try {
      await retried(send);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await make(queue);
      await retried(send);
    }
  };

  const ringAll = async (): Promise<void> => {
    const rings = pending;
    pending = new Map();
    for (const [queue, delayMs] of rings) await ringOne(queue, delayMs).catch(onError);
  };

  const ringNow = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    ringing = ringing.then(ringAll);
    return ringing;
  };

  return {
    ring(names, delayMs = 0) {
      for (const name of names) {
        const queue = queueOf(name);
        if (queue !== undefined) pending.set(queue, Math.min(pending.get(queue) ?? delayMs, delayMs));
      }
      if (pending.size === 0 || timer !== undefined) return;
      timer = setTimeout(() => void ringNow(), RING_EVERY_MS);
      // Workers claim now and then without a bell: a process that ends need not wait for this.
      timer.unref();
    },
    flush: ringNow,
    async fetch(names) {
      const queues = new Map(names.map((name) => [queueOf(name)!, name]));
      // One statement while nothing rings, whatever the number of lanes.
      const rung = await ringingBells(pool, [...queues.keys()]);
      if (rung.length === 0) return [];
      return inTx(pool, async (tx) => {
        const heard: string[] = [];
        for (const queue of rung) {
          const jobs = await boss.fetch(queue, { db: on(tx) });
          if (jobs.length === 0) continue;
          const ids = jobs.map(({ id }) => id);
          // In the same transaction: a worker that is killed leaves no job behind that it has taken.
          await boss.deleteJob(queue, ids, { db: on(tx) });
          heard.push(queues.get(queue)!);
        }
        return heard;
      });
    },
    async make(names) {
      for (const name of names) await make(queueOf(name)!);
    },
    async removeOrphans(readIds) {
      const queues = (await boss.getQueues()).map(({ name }) => name).filter((name) => name.startsWith(OF_WORKER));
      // After the queues: one that a worker makes meanwhile is not among them.
      const known = new Set((await readIds()).map((id) => queueOf(ownName(id))));
      // Workers write these rows: one that cannot be removed must not keep the others.
      for (const queue of queues) if (!known.has(queue)) await boss.deleteQueue(queue).catch(onError);
    },
  };
}

/** The queue is not there, or another process has removed it since this one used it. */
function isMissing(error: unknown): boolean {
  return error instanceof Error && /does not exist|q_fkey/.test(error.message);
}
