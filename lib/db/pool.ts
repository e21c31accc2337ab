import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";

/** Anything that runs a statement: the pool (one statement = one transaction) or a client inside one. */
export type Db = Pick<pg.Pool, "query"> | Pick<pg.PoolClient, "query">;

/** A client that is inside a transaction. Functions that take one leave commit and rollback to their caller. */
export type Tx = pg.PoolClient;

/**
 * Named statements keep the plan they were first given, and a new installation's tables are all small: a sequential
 * scan chosen then would still be there when they hold millions of rows. Every hot statement has an index to use. None
 * is planned anew for the values it is given: that takes as long as running it.
 */
const PLANNING = "-c enable_seqscan=off -c jit=off -c plan_cache_mode=force_generic_plan";

/**
 * A connection pool on `url`. No statement may wait for ever, neither for a lock nor for a client that has
 * forgotten its transaction: limits are set at connect. `queryTimeoutMs` is our own limit on top, for a server that
 * no longer answers at all.
 */
export function createPool(options: { url: string; max: number; name: string; queryTimeoutMs?: number }): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max,
    application_name: `sluice-${options.name}`,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    lock_timeout: 2_000,
    statement_timeout: 15_000,
    idle_in_transaction_session_timeout: 10_000,
    options: PLANNING,
    // A statement is sent while the one before it is still under way: `begin` and what needs no answer cost no round trip.
    pipeline: true,
    ...(options.queryTimeoutMs === undefined ? {} : { query_timeout: options.queryTimeoutMs }),
  });
  // A broken idle connection is replaced by the pool at the next use; without a listener it would end the process.
  pool.on("error", () => undefined);
  // The same for one that is checked out: its query fails, and that is what its user handles.
  pool.on("connect", (client) => void client.on("error", () => undefined));
  return pool;
}

/** Fails when the database does not answer. */
export async function ping(db: Db): Promise<void> {
  await db.query("select");
}

/** True when the database responds to a statement that does nothing within `ms`. Throws when that fails. */
export async function respondsWithin(db: Db, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(ms, false, { signal: timer.signal }).catch(() => false);
  const isInTime = await Promise.race([ping(db).then(() => true), late]);
  timer.abort();
  return isInTime;
}
