import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Generation } from "./generations.ts";
import { type Addresses, proveSession } from "./session-address.ts";
import { WITHOUT_LIMITS } from "./session-settings.ts";
import { isLostRace } from "./tx.ts";

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
 * Transactions that are older than `youngS` are named, and nothing is begun. Younger ones are waited for, `waitMs` in all: at each
 * try a lock is waited for a tenth of a second, because who comes after it waits as long, and then not for some time.
 */
export type DropLimits = { youngS: number; waitMs: number };

const LIMITS: DropLimits = { youngS: 5, waitMs: 60_000 };
const PAUSE_MS = 400;

/** Any number that no other user of advisory locks in this database takes: "drop" in ASCII. */
const DROP_LOCK = 0x64726f70;

/**
 * Drops the partitions of a marked generation, one after another, and then its row, on a connection of its own, without the
 * limits of the pool. Before anything is dropped, that connection proves that it is in the pool's
 * database, and marks the row again: so its own database decides that nothing is left of the
 * generation's runs. A session that reads or writes waits for it a tenth of a second at most. Where a
 * transaction that is not about to end would be waited for, nothing is begun and the transaction is named.
 * What an earlier call has left half-done is completed.
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
      const by = await dropPartition(client, name, generation.number, limits);
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

/** Returns what stands in the way; nothing when the partition is gone. */
async function dropPartition(
  client: pg.Client,
  table: string,
  generation: number,
  { youngS, waitMs }: DropLimits,
): Promise<Blocker[]> {
  const end = performance.now() + waitMs;
  for (;;) {
    const by = await blockers(client, table, generation, youngS);
    if (by.length > 0) return by;
    const step = await nextStep(client, table, generation);
    if (step === "gone") return [];
    if (step !== undefined) continue;
    if (performance.now() >= end) {
      const waitedFor = await blockers(client, table, generation, 0);
      if (waitedFor.length > 0) return waitedFor;
      throw new Error(`the partition of generation ${generation} of sluice.${table} could not be had for ${waitMs} ms`);
    }
    await delay(Math.min(PAUSE_MS, waitMs));
  }
}

/** What has become of the partition; nothing when a lock was not to be had. */
async function nextStep(client: pg.Client, table: string, generation: number): Promise<string | undefined> {
  try {
    const { rows } = await client.query<{ is: string }>("select sluice.drop_partition($1, $2) as is", [
      table,
      generation,
    ]);
    return rows[0]!.is;
  } catch (error) {
    if (!isLostRace(error)) throw error;
    return undefined;
  }
}

/**
 * Transactions that a step waits for: those that have used the table, or the partition, which a dump locks also when no query
 * finds it any more; and all older snapshots where a detach is half-done. A prepared transaction keeps its locks; it has no snapshot, and
 * is named in all cases. Oldest first. Whose age is hidden from this role is as good as young.
 */
async function blockers(db: pg.Client, table: string, generation: number, olderS: number): Promise<Blocker[]> {
  const { rows } = await db.query<Blocker>(
    `select * from (
       select pid, coalesce(nullif(application_name, ''), usename::text, 'unknown') as application, coalesce(state, 'unknown') as state,
              coalesce(floor(extract(epoch from clock_timestamp() - xact_start)), 0)::int as "ageS"
         from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and (pid in (select l.pid from pg_locks l
                        where l.granted and l.relation in (to_regclass($2), to_regclass($3))
                          and l.database = (select oid from pg_database where datname = current_database()))
               or backend_xmin is not null
                  and exists (select from pg_inherits where inhparent = to_regclass($2) and inhdetachpending))
       union all
       select null, gid, 'prepared', floor(extract(epoch from clock_timestamp() - prepared))::int from pg_prepared_xacts
        where database = current_database()) b
      where "ageS" >= $1 order by "ageS" desc limit 5`,
    [olderS, `sluice.${table}`, `sluice.${table}_g${generation}`],
  );
  return rows;
}
