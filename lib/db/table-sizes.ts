import type { Db } from "./pool.ts";

/** Our tables and pg-boss's, each with its partitions, in bytes. */
const SIZES = `
  select n.nspname || '.' || c.relname as name,
         sum(pg_relation_size(leaf.relid))::bigint as heap,
         sum(pg_indexes_size(leaf.relid))::bigint as indexes,
         sum(pg_total_relation_size(leaf.relid) - pg_relation_size(leaf.relid) - pg_indexes_size(leaf.relid))::bigint as toast,
         sum(greatest(l.reltuples, 0))::bigint as rows
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('sluice', 'sluice_boss')
   cross join lateral (select t.relid from pg_partition_tree(c.oid) t where t.isleaf
                       union all select c.oid where c.relkind = 'r') leaf
    join pg_class l on l.oid = leaf.relid
   where c.relkind in ('r', 'p') and not c.relispartition
   group by 1`;

/** Keeps how large each table is today. */
export async function sampleSizes(db: Db): Promise<void> {
  await db.query(
    `insert into sluice.table_size (name, bytes) select name, heap + indexes + toast from (${SIZES}) s
     on conflict (day, name) do update set bytes = excluded.bytes`,
  );
}

/** Bytes; `rows` is the planner's estimate. `perDay` is null where there are no samples of two days. */
export type TableSize = {
  name: string;
  rows: number;
  heap: number;
  indexes: number;
  toast: number;
  total: number;
  perDay: number | null;
};

/** Over how many days at most the growth is told. */
export const GROWTH_DAYS = 7;

/** The tables, the largest first, and how they have grown since the oldest sample of the last week. */
export async function readSizes(db: Db): Promise<{ tables: TableSize[]; total: number; since: string | null }> {
  const { rows } = await db.query<TableSize & { since: string | null }>(
    `select s.name, s.rows::float8 as rows, s.heap::float8 as heap, s.indexes::float8 as indexes, s.toast::float8 as toast,
            (s.heap + s.indexes + s.toast)::float8 as total,
            ((s.heap + s.indexes + s.toast - coalesce(o.bytes, 0)) / (sluice.today() - x.day))::float8 as "perDay",
            x.day::text as since
       from (${SIZES}) s
       left join (select min(day) as day from sluice.table_size
                   where day >= sluice.today() - $1::int and day < sluice.today()) x on true
       left join sluice.table_size o on o.name = s.name and o.day = x.day
      order by total desc, s.name`,
    [GROWTH_DAYS],
  );
  return {
    tables: rows.map(({ since: _, ...table }) => table),
    total: rows.reduce((sum, { total }) => sum + total, 0),
    since: rows[0]?.since ?? null,
  };
}
