import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import type { Tx } from "#lib/db/pool.ts";

/** A transaction that is held open until it is told to commit. */
export type Held<T> = { result: T; commit: () => Promise<void> };

/** Does `work` in a transaction of its own and keeps its locks. */
export async function held<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<Held<T>> {
  const tx = await pool.connect();
  await tx.query("begin");
  const result = await work(tx);
  return {
    result,
    async commit() {
      await tx.query("commit");
      tx.release();
    },
  };
}

const LOOK_AGAIN_MS = 5;

/** Resolves when so many wait for a lock in this database. */
export async function waitsForLock(pool: pg.Pool, count = 1): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    if (rowCount! >= count) return;
    await delay(LOOK_AGAIN_MS);
  }
}
