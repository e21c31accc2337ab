import { randomBytes, randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { createPool, type Db } from "./pool.ts";

/** The address for sessions is not one of the pool's database, or not one that keeps a session. */
export class SessionAddressError extends Error {}

/** What a proof needs of a pool. */
type ProvingPool = Pick<pg.Pool, "options"> & { query(text: string, values: unknown[]): Promise<pg.QueryResult> };

/** A pool, and the address of the same database for what needs a session of its own. */
export type Addresses = { pool: ProvingPool; sessionUrl: string };

/** A committed announcement is heard within milliseconds; a machine that is very busy may take some seconds. */
const HEARD_MS = 5_000;

/**
 * Proves on a connection of its own that `sessionUrl` is an address of the pool's database. Throws a
 * `SessionAddressError` when it is not, and what the driver says when either does not answer. `also` is
 * asked of the proved connection.
 */
export async function proveSessionAddress(addresses: Addresses, also?: (db: Db) => Promise<void>): Promise<void> {
  const client = new pg.Client({
    connectionString: addresses.sessionUrl,
    application_name: "sluice-session-proof",
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await proveSession(client, addresses);
    await also?.(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The same for a process that has no pool of `databaseUrl`, and afterwards needs none. */
export async function proveAddresses(databaseUrl: string, sessionUrl: string): Promise<void> {
  const pool = createPool({ url: databaseUrl, max: 1, name: "session-proof" });
  try {
    await proveSessionAddress({ pool, sessionUrl });
  } finally {
    await pool.end();
  }
}

/**
 * Proves that the session of `client`, which was opened with `sessionUrl`, is in the database of the
 * pool: a lock that it takes is there for the pool, and an announcement through the pool is heard on
 * it. Only the same database of the same running server knows of the lock; a standby or a copy does
 * not. What lies behind a pooler in transaction mode hears nothing, for which `heardMs` are waited.
 */
export async function proveSession(client: pg.Client, addresses: Addresses, heardMs = HEARD_MS): Promise<void> {
  if (!(await sharesLocks(client, addresses.pool))) throw new SessionAddressError(otherText(addresses));
  if (!(await hears(client, addresses.pool, heardMs))) throw new SessionAddressError(deafText(addresses));
}

async function hears(client: pg.Client, pool: ProvingPool, heardMs: number): Promise<boolean> {
  const channel = `sluice_proof_${randomBytes(16).toString("hex")}`;
  const heard = Promise.withResolvers<boolean>();
  const hear = (message: pg.Notification): void => {
    if (message.channel === channel) heard.resolve(true);
  };
  const waiting = new AbortController();
  client.on("notification", hear);
  try {
    await client.query(`listen ${channel}`);
    // Its commit writes nothing that a crash must not lose.
    await pool.query("select pg_notify($1, ''), set_config('synchronous_commit', 'off', true)", [channel]);
    const late = delay(heardMs, false, { signal: waiting.signal }).catch(() => false);
    const isHeard = await Promise.race([heard.promise, late]);
    await client.query(`unlisten ${channel}`);
    return isHeard;
  } finally {
    waiting.abort();
    client.off("notification", hear);
  }
}

/** Whether a lock that the session takes is there for the pool. In a transaction, which any pooler leaves on one session. */
async function sharesLocks(client: pg.Client, pool: ProvingPool): Promise<boolean> {
  const key = [randomInt(2 ** 31), randomInt(2 ** 31)];
  await client.query("begin");
  try {
    await client.query("select pg_advisory_xact_lock($1::int, $2::int)", key);
    const { rows } = await pool.query(
      `select from pg_locks
        where locktype = 'advisory' and classid = $1::int::oid and objid = $2::int::oid
          and database = (select oid from pg_database where datname = current_database())`,
      key,
    );
    return rows.length > 0;
  } finally {
    await client.query("rollback");
  }
}

const RIGHT =
  "DATABASE_SESSION_URL must lead to the database of DATABASE_URL itself, on the same server, " +
  "and not to a standby, a copy or a pooler in transaction mode";

function otherText(addresses: Addresses): string {
  const { session, pool } = namesOf(addresses);
  return `${session} leads to another database than ${pool}: what happens in one is not seen in the other. ${RIGHT}`;
}

function deafText(addresses: Addresses): string {
  const { session } = namesOf(addresses);
  return (
    `${session} leads to the right database, but keeps no session: LISTEN hears nothing there, as behind a pooler in ` +
    `transaction mode. ${RIGHT}`
  );
}

/** Both settings with the places that they name, without what is secret in them. */
function namesOf({ pool, sessionUrl }: Addresses): { session: string; pool: string } {
  const place = placeOf({ connectionString: sessionUrl });
  const isOne = pool.options.connectionString === sessionUrl;
  const session = isOne
    ? `DATABASE_URL ${place}, which is DATABASE_SESSION_URL, too,`
    : `DATABASE_SESSION_URL ${place}`;
  return { session, pool: `DATABASE_URL ${placeOf(pool.options)}` };
}

function placeOf(options: pg.ClientConfig): string {
  const { host, port, database } = new pg.Client(options);
  return `(${host}:${port}/${database ?? ""})`;
}
