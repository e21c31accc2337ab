import pg from "pg";
import type { Generation } from "./generations.ts";
import { type Addresses, proveSession } from "./session-address.ts";
import { WITHOUT_LIMITS } from "./session-settings.ts";

/** A transaction that a drop has to wait for; `pid` is null for one that is prepared, which no session has any more. */
export type Blocker = {
  pid: number | null;
  application: string;
  state: string;
  ageS: number;
};

/** `taken`: another session is dropping. `blocked`: what is left is dropped by the first call after these transactions' ends. */
export type Drop = { outcome: "dropped" } | { outcome: "taken" } | { outcome: "blocked"; by: Blocker[] };

export const blockerText = ({ pid, application, state, ageS }: Blocker): string =>
  `${pid === null ? "a prepared transaction" : `the transaction of process ${pid} (${application}, ${state})`}, ${ageS} s old`;

/**
 * Transactions that are younger than `youngS` are waited for, and are no blockers; so long at most. A detach holds up no other
 * session meanwhile; what completes one that was cancelled holds a lock that the opening of a generation needs.
 */
export type DropLimits = { youngS: number; detachMs: number; finalizeMs: number };

const LIMITS: DropLimits = { youngS: 5, detachMs: 60_000, finalizeMs: 5_000 };

/** Any number that no other user of advisory locks in this database takes: "drop" in ASCII. */
const DROP_LOCK = 0x64726f70;

/**
 * Drops the partitions of a marked generation, one after another, and then its row, on a connection of its own, without the
 * limits of the pool. Before anything is dropped, that connection proves that it is in the pool's
 * database, and marks the row again: so its own database decides that nothing is left of the
 * generation's runs. No session that reads or writes waits for it: a
 * partition is detached concurrently first. Where a transaction that is not about to end would be waited for, nothing is begun and
 * the transaction is named. What an earlier call has left half-done is completed.
 */
export async function dropHistory(addresses: Addresses, generation: Generation, limits = LIMITS): Promise<Drop> {
  const client = new pg.Client({
    connectionString: addresses.sessionUrl,
    application_name: "sluice-drop-history",
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await proveSession(client, addresses);
    await client.query(WITHOUT_LIMITS);
    const { rows } = await client.query<{ mine: boolean }>("select pg_try_advisory_lock($1) as mine", [DROP_LOCK]);
    if (!rows[0]!.mine) return { outcome: "taken" };
    // Another process has dropped it since it was listed.
    if (!(await markAgain(client, generation))) return { outcome: "dropped" };
    const tables = await client.query<{ name: string }>("select name from sluice.history_tables()");
    for (const { name } of tables.rows) {
      const by = await dropPartition(client, `sluice.${name}`, `sluice.${name}_g${generation.number}`, limits);
      if (by.length > 0) return { outcome: "blocked", by };
    }
    await client.query("delete from sluice.generation where number = $1", [generation.number]);
    return { outcome: "dropped" };
  } finally {
    // The lock goes with the connection.
    await client.end();
  }
}

/**
 * Marks the generation's row where it is marked already, which has its trigger look for runs. Returns
 * false when there is no such row, and throws when it is another one than was listed.
 */
async function markAgain(client: pg.Client, { number, firstRun, endRun }: Generation): Promise<boolean> {
  const { rowCount } = await client.query(
    `update sluice.generation set dropping_at = dropping_at
      where number = $1 and first_run = $2 and end_run = $3 and dropping_at is not null`,
    [number, firstRun, endRun],
  );
  if (rowCount === 1) return true;
  const other = await client.query("select from sluice.generation where number = $1", [number]);
  if (other.rowCount === 0) return false;
  throw new Error(`generation ${number} is not the one that was to be dropped, or is not marked; nothing is dropped`);
}

/** Returns what stands in the way; nothing when the partition is gone. What detaches may not be in a transaction with anything else. */
async function dropPartition(
  client: pg.Client,
  table: string,
  part: string,
  { youngS, detachMs, finalizeMs }: DropLimits,
): Promise<Blocker[]> {
  // A table can have one partition at a time that is being detached, of whatever generation.
  const { rows } = await client.query<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = to_regclass($1) and inhdetachpending",
    [table],
  );
  for (const { name } of rows) {
    const by = await unlessBlocked(
      () => oldSnapshots(client, youngS),
      () => oldSnapshots(client, 0),
      () => limited(client, `alter table ${table} detach partition ${name} finalize`, finalizeMs),
    );
    if (by.length > 0) return by;
  }
  const is = await partition(client, table, part);
  if (is === "attached") {
    const by = await unlessBlocked(
      () => lockers(client, table, youngS),
      () => lockers(client, table, 0),
      () => limited(client, `alter table ${table} detach partition ${part} concurrently`, detachMs),
    );
    if (by.length > 0) return by;
  }
  if (is === "gone") return [];
  // No query finds it any more, but a dump locks every table that there is.
  return unlessBlocked(
    () => lockers(client, part, youngS),
    () => lockers(client, part, 0),
    () => limited(client, `drop table ${part}`, detachMs),
  );
}

/** Where nothing blocks, does `work`; when that was cancelled at its limit, what it waited for is what blocks. */
async function unlessBlocked(
  before: () => Promise<Blocker[]>,
  after: () => Promise<Blocker[]>,
  work: () => Promise<void>,
): Promise<Blocker[]> {
  const by = await before();
  if (by.length > 0) return by;
  try {
    await work();
    return [];
  } catch (error) {
    const waitedFor = isCancelled(error) ? await after() : [];
    if (waitedFor.length === 0) throw error;
    return waitedFor;
  }
}

const isCancelled = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "57014";

/** Apart, because what detaches concurrently may not be in one message with another statement. */
async function limited(client: pg.Client, text: string, ms: number): Promise<void> {
  await client.query(`set statement_timeout = ${ms}`);
  await client.query(text);
}

async function partition(db: pg.Client, table: string, part: string): Promise<"attached" | "detached" | "gone"> {
  const { rows } = await db.query<{ isPart: boolean }>(
    `select i.inhrelid is not null as "isPart" from pg_class c
       left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = to_regclass($2)
      where c.oid = to_regclass($1)`,
    [part, table],
  );
  const [row] = rows;
  if (row === undefined) return "gone";
  return row.isPart ? "attached" : "detached";
}

/** A detach waits for the transactions that have used the table. */
async function lockers(db: pg.Client, table: string, olderS: number): Promise<Blocker[]> {
  return blockers(db, "pid in (select l.pid from pg_locks l where l.relation = $2::regclass and l.granted)", olderS, [
    table,
  ]);
}

/** What completes a cancelled detach waits for all snapshots that are older. */
async function oldSnapshots(db: pg.Client, olderS: number): Promise<Blocker[]> {
  return blockers(db, "backend_xmin is not null", olderS, []);
}

/** Oldest first. A prepared transaction keeps its locks; it has no snapshot, and is named in both cases. */
async function blockers(
  db: pg.Client,
  condition: string,
  olderS: number,
  values: readonly string[],
): Promise<Blocker[]> {
  const { rows } = await db.query<Blocker>(
    `select * from (
       select pid, coalesce(nullif(application_name, ''), usename::text, 'unknown') as application, coalesce(state, 'unknown') as state,
              floor(extract(epoch from clock_timestamp() - xact_start))::int as "ageS"
         from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and ${condition}
       union all
       select null, gid, 'prepared', floor(extract(epoch from clock_timestamp() - prepared))::int from pg_prepared_xacts
        where database = current_database()) b
      where "ageS" >= $1 order by "ageS" desc limit 5`,
    [olderS, ...values],
  );
  return rows;
}
