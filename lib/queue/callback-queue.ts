import type { Db as BossDb, PgBoss } from "pg-boss";
import type pg from "pg";
import type { Call } from "#lib/db/callbacks.ts";
import type { Tx } from "#lib/db/pool.ts";

/** A call to make; `isLast` when it is not made again after this time. */
export type CallbackJob = { id: string; call: Call; isLast: boolean };

const QUEUE = "callbacks";

/** Longer than a request can take; then another worker may take it. */
const EXPIRE_SECONDS = 120;
/** 5 s, 10 s, 20 s … at most 10 minutes apart: somebody who is away for half an hour is still told. */
const RETRIES = { retryLimit: 10, retryDelay: 5, retryBackoff: true, retryDelayMax: 600 };

export type CallbackQueue = {
  enqueue(tx: Tx, calls: readonly Call[]): Promise<void>;
  take(max: number): Promise<CallbackJob[]>;
  finished(id: string): Promise<void>;
  /** Comes again later, unless this was the last time. */
  failed(id: string, error: string): Promise<void>;
  /** Gives back what workers took that have died since. */
  supervise(): Promise<void>;
};

/** pg-boss as the courier of callbacks: it keeps them, spaces the repetitions and counts them. */
export function createCallbackQueue(boss: PgBoss, on: (db: pg.Pool | Tx) => BossDb): CallbackQueue {
  return {
    async enqueue(tx, calls) {
      await boss.insert(
        QUEUE,
        calls.map((data) => ({ data })),
        { db: on(tx) },
      );
    },
    async take(max) {
      const jobs = await boss.fetch<Call>(QUEUE, { batchSize: max, includeMetadata: true });
      return jobs.map(({ id, data, retryCount, retryLimit }) => ({ id, call: data, isLast: retryCount >= retryLimit }));
    },
    async finished(id) {
      await boss.complete(QUEUE, id);
    },
    async failed(id, error) {
      await boss.fail(QUEUE, id, { error });
    },
    supervise: () => boss.supervise(QUEUE),
  };
}

/** Part of the migration. */
export async function installCallbackQueue(boss: PgBoss): Promise<void> {
  await boss.createQueue(QUEUE, { ...RETRIES, expireInSeconds: EXPIRE_SECONDS });
}
