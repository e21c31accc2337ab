import type { DatabaseAge, SnapshotHolder } from "#lib/domain/database-age.ts";
import type { Db } from "./pool.ts";

/**
 * Reads how old the database's transaction ids, multixacts and oldest snapshot are. Postgres shows
 * the snapshots of other roles only to members of pg_monitor; for others, only those of their own
 * role count.
 */
export async function readDatabaseAge(db: Db): Promise<DatabaseAge> {
  const { rows } = await db.query<Omit<DatabaseAge, "oldestSnapshot">>({
    name: "read-database-age",
    text: `
      select age(datfrozenxid) as "xidAge", mxid_age(datminmxid) as "mxidAge",
             current_setting('autovacuum_freeze_max_age')::int as "xidFreezeAge",
             current_setting('autovacuum_multixact_freeze_max_age')::int as "mxidFreezeAge"
        from pg_database where datname = current_database()`,
  });
  const [oldest] = await oldestSnapshots(db);
  return { ...rows[0]!, oldestSnapshot: oldest ?? null };
}

/**
 * Vacuum does not wait for other vacuums, so those are left out; a walsender passes on what a
 * standby still reads.
 */
async function oldestSnapshots(db: Db): Promise<SnapshotHolder[]> {
  const { rows } = await db.query<SnapshotHolder>({
    name: "oldest-snapshots",
    text: `
      select kind, pid, application, xids, seconds
        from (select 'session' as kind, pid, application_name as application,
                     greatest(age(backend_xmin), age(backend_xid)) as xids,
                     extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
                from pg_stat_activity
               where (backend_xmin is not null or backend_xid is not null) and pid <> pg_backend_pid()
                 and (datname = current_database() or backend_type = 'walsender')
                 and backend_type <> 'autovacuum worker'
              union all
              select 'replication slot', null, slot_name, greatest(age(xmin), age(catalog_xmin)), null
                from pg_replication_slots where xmin is not null or catalog_xmin is not null
              union all
              select 'prepared transaction', null, gid, age(transaction), extract(epoch from clock_timestamp() - prepared)::float8
                from pg_prepared_xacts where database = current_database()) s
       order by xids desc, seconds desc nulls last limit 1`,
  });
  return rows;
}
