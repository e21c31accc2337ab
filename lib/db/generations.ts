import type pg from "pg";
import type { Db, Tx } from "./pool.ts";

/** A range of run ids; the history of its runs is dropped as a whole. */
export type Generation = {
  number: number;
  keepDays: number;
  firstRun: string;
  endRun: string;
  openedAt: Date;
  closedAt: Date | null;
  droppingAt: Date | null;
};

const SELECT_GENERATIONS = `
  select number, keep_days as "keepDays", first_run as "firstRun", end_run as "endRun", opened_at as "openedAt",
         closed_at as "closedAt", dropping_at as "droppingAt"
    from sluice.generation`;

export async function listGenerations(db: Db): Promise<Generation[]> {
  const { rows } = await db.query<Generation>(`${SELECT_GENERATIONS} order by number`);
  return rows;
}

/**
 * Classes whose open generation is to be followed by another: it has runs, and is older than a quarter of its time (a day at
 * least) or more than half full; or a DAG came from a class whose ids are larger.
 */
export async function classesToRotate(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ keepDays: number }>({
    name: "classes-to-rotate",
    text: `
      select g.keep_days as "keepDays"
        from sluice.generation g
        join pg_sequences q on q.schemaname = 'sluice' and q.sequencename = 'run_id_' || g.keep_days
       where g.closed_at is null
         and (g.overtaken
              or q.last_value >= g.first_run
                 and (g.opened_at < (select sluice.clock()) - greatest(1, g.keep_days / 4.0) * interval '1 day'
                      or q.last_value - g.first_run > (g.end_run - g.first_run) / 2))
       order by 1`,
  });
  return rows.map((row) => row.keepDays);
}

/** Opens another generation of the class. Its runs go there once `enterGenerations` sees it committed. */
export async function openGeneration(db: Db, keepDays: number): Promise<number> {
  const { rows } = await db.query<{ number: number }>("select sluice.open_generation($1) as number", [keepDays]);
  return rows[0]!.number;
}

export async function enterGenerations(db: Db): Promise<void> {
  await db.query("select sluice.enter_generations()");
}

/**
 * Marks closed generations in which no run is left: their history can be dropped. Nothing is inserted into a closed generation, so
 * none comes back. Returns how many.
 */
export async function markEmpty(db: Db): Promise<number> {
  const { rowCount } = await db.query(`
    update sluice.generation g set dropping_at = sluice.clock()
     where g.dropping_at is null and g.closed_at < sluice.clock() - g.keep_days * interval '1 day'
       and not exists (select from sluice.dag_run r where r.id >= g.first_run and r.id < g.end_run)`);
  return rowCount ?? 0;
}

const partName = (table: string, { number }: Generation): string => `${table}_g${number}`;

async function partition(db: Db, table: string, generation: Generation): Promise<"attached" | "detached" | "gone"> {
  const { rows } = await db.query<{ isPart: boolean }>(
    `select i.inhrelid is not null and not i.inhdetachpending as "isPart" from pg_class c
       left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = to_regclass($2)
      where c.oid = to_regclass($1)`,
    [`sluice.${partName(table, generation)}`, `sluice.${table}`],
  );
  const [row] = rows;
  if (row === undefined) return "gone";
  return row.isPart ? "attached" : "detached";
}

/** Any number that no other user of advisory locks in this database takes: "drop" in ASCII. */
const DROP_LOCK = 0x64726f70;

/**
 * Drops the partitions of a generation, one after another, and then its row. No session that reads or writes waits for it: a
 * partition is detached concurrently first. What an earlier call has left half-done is finished. False when another session is
 * at it.
 */
export async function dropGeneration(pool: pg.Pool, generation: Generation): Promise<boolean> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const { rows } = await client.query<{ mine: boolean }>("select pg_try_advisory_lock($1) as mine", [DROP_LOCK]);
    if (!rows[0]!.mine) return false;
    const tables = await client.query<{ name: string }>("select name from sluice.history_tables()");
    for (const { name } of tables.rows) await dropPartition(client, name, generation);
    await client.query("delete from sluice.generation where number = $1", [generation.number]);
    await client.query("select pg_advisory_unlock($1)", [DROP_LOCK]);
    return true;
  } catch (error) {
    // The lock goes with the connection.
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.release(broken);
  }
}

/** What is detached concurrently may not be in a transaction with anything else. */
async function dropPartition(client: pg.PoolClient, table: string, generation: Generation): Promise<void> {
  const part = `sluice.${partName(table, generation)}`;
  // A table can have one partition at a time that is being detached, of whatever generation.
  const { rows } = await client.query<{ name: string }>(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = to_regclass($1) and inhdetachpending",
    [`sluice.${table}`],
  );
  for (const { name } of rows) await client.query(`alter table sluice.${table} detach partition ${name} finalize`);
  const is = await partition(client, table, generation);
  if (is === "attached") await client.query(`alter table sluice.${table} detach partition ${part} concurrently`);
  if (is !== "gone") await client.query(`drop table ${part}`);
}

/** Days for which dropped runs and sizes of tables are told of. */
const TOLD_DAYS = 90;

/** Small tables that grow by the day. */
export async function deleteOldDays(db: Db): Promise<void> {
  await db.query("delete from sluice.dropped_runs where day < sluice.today() - $1::int", [TOLD_DAYS]);
  await db.query("delete from sluice.table_size where day < sluice.today() - $1::int", [TOLD_DAYS]);
}

/** The days that runs are kept whose DAG says nothing. */
export async function defaultKeepDays(db: Db): Promise<number> {
  const { rows } = await db.query<{ keepDays: number }>('select keep_days as "keepDays" from sluice.retention');
  return rows[0]!.keepDays;
}

/** Keeps later runs of such DAGs for so many days; there are partitions for them then. */
export async function setDefaultKeepDays(tx: Tx, keepDays: number): Promise<void> {
  await tx.query("select sluice.ensure_class($1, null)", [keepDays]);
  // The DAGs that change their class with it.
  await tx.query(
    `update sluice.generation g set overtaken = true
      where g.keep_days = $1 and g.closed_at is null
        and g.end_run <= (select max(o.first_run) from sluice.generation o, sluice.retention r
                           where o.keep_days = r.keep_days and o.closed_at is null)`,
    [keepDays],
  );
  await tx.query("update sluice.retention set keep_days = $1", [keepDays]);
}
