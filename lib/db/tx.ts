import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Tx } from "./pool.ts";

/** Lost a race that running the same statements again settles. */
const RETRIED_CODES = new Set([
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  "55P03", // lock_not_available (lock_timeout)
  // in_failed_sql_transaction: of statements sent together, one behind the one that lost may be heard first.
  "25P02",
]);

/** True when running the same statements again may well work. */
export function isLostRace(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && RETRIED_CODES.has(error.code ?? "");
}

/** True for who waited for another's lock as long as may be: to try again at once is to wait as long again. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "55P03";
}

const MAX_TRIES = 5;
const FIRST_BACKOFF_MS = 10;

/** Runs `work` again, after a random pause, while Postgres says it lost a race; any other error is the caller's. */
export async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isLostRace(error) || attempt === MAX_TRIES) throw error;
      await delay(Math.random() * FIRST_BACKOFF_MS * 2 ** attempt);
    }
  }
}

/** One READ COMMITTED transaction around `work`, repeated as a whole when it loses a race. */
export async function inTx<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  return retried(() => inOneTx(pool, work));
}

/** The same without repeating: what loses a race fails. */
export async function inOneTx<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  const tx = await pool.connect();
  let broken: Error | undefined;
  try {
    // On its way together with the first statement of `work`.
    const begun = tx.query("begin");
    begun.catch(() => undefined);
    const result = await work(tx);
    await begun;
    const { command } = await tx.query("commit");
    // Postgres answers the commit of a failed transaction with a rollback, and with no error.
    if (command !== "COMMIT") throw new Error("a statement of the transaction failed, and nothing of it was kept");
    return result;
  } catch (error) {
    await tx.query("rollback").catch((failure: unknown) => {
      broken = failure instanceof Error ? failure : new Error(String(failure));
    });
    throw error;
  } finally {
    tx.release(broken);
  }
}
