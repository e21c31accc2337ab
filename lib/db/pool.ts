import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";

/** Anything that runs a statement: the pool (one statement = one transaction) or a client inside one. */
export type Db = Pick<pg.Pool, "query"> | Pick<pg.PoolClient, "query">;

/** A client that is inside a transaction. Functions that take one leave commit and rollback to their caller. */
export type Tx = pg.PoolClient;

/**
 * A connection pool on `url`. How long a statement may take, and how it is planned, are settings of the role: see
 * session-settings.ts. `queryTimeoutMs` is our own limit on top, for a server that does not respond at all. With
 * `prepared_statements=false` in the address no statement has a name: for poolers that keep none.
 */
export function createPool(options: {
  url: string;
  max: number;
  name: string;
  queryTimeoutMs?: number;
  /** Sessions act as this role, of which the one that connects is a member. */
  role?: string;
  /** Sessions find nothing that others have made in `public`. For an address that keeps its sessions. */
  ownNames?: boolean;
}): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max,
    application_name: `sluice-${options.name}`,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    // A statement is sent while the one before it is still under way: `begin` and what needs no answer cost no round trip.
    pipeline: true,
    // oxlint-disable-next-line typescript/no-misused-promises -- because pg-pool waits for it, which its types do not say
    onConnect: async (client) => {
      if (options.ownNames === true) await client.query(OWN_NAMES);
      if (options.role !== undefined) await actAs(client, options.role);
    },
    ...(options.queryTimeoutMs === undefined ? {} : { query_timeout: options.queryTimeoutMs }),
  });
  // A broken idle connection is replaced by the pool at the next use; without a listener it would end the process.
  pool.on("error", () => undefined);
  // The same for one that is checked out: its query fails, and that is what its user handles.
  pool.on("connect", (client) => void client.on("error", () => undefined));
  if (URL.parse(options.url)?.searchParams.get("prepared_statements") === "false") {
    pool.on("connect", (client) => forgetNames(client));
  }
  return pool;
}

/**
 * For a session of who may more than others: a name without a schema is Postgres's own. Whoever may create in `public` could
 * have a function there that fits its arguments better, `format(text, text, text)` say, and that runs with its rights.
 */
export const OWN_NAMES = "set search_path = pg_catalog, pg_temp";

async function actAs(client: pg.ClientBase, role: string): Promise<void> {
  await client.query("select set_config('role', $1, false)", [role]);
}

/** Sends this client's statements without their names. */
function forgetNames(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const nameless = (statement: unknown, ...rest: unknown[]): unknown =>
    query(isNamed(statement) ? { ...statement, name: undefined } : statement, ...rest);
  Object.assign(client, { query: nameless });
}

function isNamed(statement: unknown): statement is { name: string } {
  return typeof statement === "object" && statement !== null && "name" in statement;
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
