import type { Db, Tx } from "./pool.ts";

/**
 * Rows that nothing needs any more: old versions of DAGs with their tasks, bundles, workloads, and
 * notes of lost output. Each function deletes a bounded number and may be called by several
 * schedulers at once.
 */

/**
 * Returns up to `most` versions that are not among the latest `keep` of their DAG and have no run.
 * An older version never becomes current again (a rollback makes a new one), so only a transaction
 * that is under way can still insert a run of it: one that read the DAG before it had another
 * version. See `openTransactions`.
 */
export async function versionsWithoutUse(db: Db, keep: number, most: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "versions-without-use",
    text: `
      select v.id
        from sluice.dag d
        cross join lateral (select o.id from sluice.dag_version o where o.dag_id = d.id order by o.number desc offset $1) v
       where v.id <> d.current_version_id and not exists (select from sluice.dag_run r where r.version_id = v.id)
       order by v.id limit $2`,
    values: [keep, most],
  });
  return rows.map((row) => row.id);
}

/**
 * Returns the transactions of this database that are under way, without its own and those of
 * autovacuum, by virtual id.
 */
export async function openTransactions(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ ids: string[] }>({
    name: "open-transactions",
    text: `
      select array(select l.virtualtransaction from pg_locks l join pg_stat_activity a on a.pid = l.pid
                    where l.locktype = 'virtualxid' and l.granted and l.virtualxid = l.virtualtransaction
                      and a.datname = current_database() and a.usesysid is not null and a.pid <> pg_backend_pid()) as ids`,
  });
  return rows[0]!.ids;
}

/**
 * True when all of these transactions have ended: what they wrote is there to be seen by any later
 * statement.
 */
export async function haveEnded(db: Db, transactions: readonly string[]): Promise<boolean> {
  const { rows } = await db.query<{ ended: boolean }>({
    name: "have-ended",
    text: `select not exists (select from pg_locks where locktype = 'virtualxid' and granted and virtualxid = any ($1)) as ended`,
    values: [transactions],
  });
  return rows[0]!.ended;
}

/**
 * Deletes up to `most` tasks of those of these versions that have no run; returns how many. No
 * transaction that could insert one may be under way. A version without its tasks can still be read
 * and rolled back to: for that its spec is used.
 */
export async function deleteVersionTasks(db: Db, versionIds: readonly string[], most: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "delete-version-tasks",
    text: `
      with dead as materialized (
        select v.id from unnest($1::bigint[]) v(id)
         where not exists (select from sluice.dag_run r where r.version_id = v.id))
      delete from sluice.dag_task t
       where t.ctid = any (array(select k.ctid from sluice.dag_task k
                                  where k.version_id = any (array(select id from dead)) limit $2))`,
    values: [versionIds, most],
  });
  return rowCount ?? 0;
}

/** Deletes those of these versions that have neither tasks nor runs; returns how many. */
export async function deleteVersions(db: Db, versionIds: readonly string[]): Promise<number> {
  const { rowCount } = await db.query({
    name: "delete-versions",
    text: `
      delete from sluice.dag_version v
       where v.id = any ($1::bigint[])
         and not exists (select from sluice.dag_task t where t.version_id = v.id)
         and not exists (select from sluice.dag_run r where r.version_id = v.id)`,
    values: [versionIds],
  });
  return rowCount ?? 0;
}

/**
 * A workload is of use while a version has a task of it, or of one that differs in its priority
 * only: the runs of backfills have such ones, and their versions are kept with them. Of whatever
 * lives it is asked, too.
 */
const WORKLOAD_WITHOUT_USE = `
  not exists (
    select from sluice.workload b
     where b.dag_id = w.dag_id and b.queue = w.queue and b.slot_class = w.slot_class and b.pool is not distinct from w.pool
       and b.slots = w.slots and b.cpu = w.cpu and b.memory = w.memory and b.needs = w.needs
       and exists (select from sluice.dag_task t where t.workload_id = b.id))
  and not exists (select from sluice.live_attempt a where a.workload_id = w.id)
  and not exists (select from sluice.workload_wait x where x.workload_id = w.id)
  and not exists (select from sluice.task_instance t
                   where t.lane_id = w.lane_id and t.workload_id = w.id and t.admissible)`;

/**
 * Deletes up to `most` workloads that are of no use; returns how many. A version that is being
 * published has locked those it uses; what it has committed before the lock was got here is seen by
 * the second statement.
 */
export async function deleteWorkloads(tx: Tx, most: number): Promise<number> {
  const { rows } = await tx.query<{ id: number }>({
    name: "lock-workloads-without-use",
    text: `select w.id from sluice.workload w where ${WORKLOAD_WITHOUT_USE} limit $1 for update of w skip locked`,
    values: [most],
  });
  const { rowCount } = await tx.query({
    name: "delete-workloads",
    text: `delete from sluice.workload w where w.id = any ($1::int[]) and ${WORKLOAD_WITHOUT_USE}`,
    values: [rows.map((row) => row.id)],
  });
  return rowCount ?? 0;
}

const BUNDLE_WITHOUT_USE = "not exists (select from sluice.dag_version v where v.bundle = b.hash)";

/**
 * Deletes up to `most` bundles that no version has; returns how many. A version that is being
 * published has locked its own.
 */
export async function deleteBundles(tx: Tx, most: number): Promise<number> {
  const { rows } = await tx.query<{ hash: string }>({
    name: "lock-bundles-without-use",
    text: `select b.hash from sluice.bundle b where ${BUNDLE_WITHOUT_USE} limit $1 for update of b skip locked`,
    values: [most],
  });
  const { rowCount } = await tx.query({
    name: "delete-bundles",
    text: `delete from sluice.bundle b where b.hash = any ($1) and ${BUNDLE_WITHOUT_USE}`,
    values: [rows.map((row) => row.hash)],
  });
  return rowCount ?? 0;
}

/** Deletes up to `most` notes of lost output whose task instance is gone; returns how many. */
export async function deleteLogLosses(db: Db, most: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "delete-log-losses",
    // A search by key for each note: a join would read the task instances of every run that is kept.
    text: `
      delete from sluice.log_loss l
       where l.ctid = any (array(
         select o.ctid from sluice.log_loss o
           left join lateral (select t.id from sluice.task_instance t where t.id = o.task_instance_id offset 0) t on true
          where t.id is null limit $1))`,
    values: [most],
  });
  return rowCount ?? 0;
}
