import type { Json } from "#lib/domain/canonical.ts";
import type { Db } from "./pool.ts";

/**
 * The outputs of the parents of each of the task instances, by task id; a parent that left none is absent. Undefined for
 * one whose parents' outputs are more than `maxBytes` together, as Postgres keeps them.
 */
export async function parentOutputs(
  db: Db,
  taskInstanceIds: readonly string[],
  maxBytes: number,
): Promise<Map<string, Record<string, Json> | undefined>> {
  const { rows } = await db.query<{ id: string; outputs: Record<string, Json> | null }>({
    name: "parent-outputs",
    text: `
      select c.id::text as id,
             case when coalesce(sum(x.size), 0) <= $2
                  then coalesce(jsonb_object_agg(x.task_id, x.value) filter (where x.task_id is not null), '{}') end as outputs
        from unnest($1::bigint[]) c(id)
        join sluice.dag_run r on r.id = c.id >> 20
        cross join lateral (select t.parents from sluice.dag_task t
                             where t.version_id = r.version_id and t.ord = (c.id & 1048575)::int offset 0) k
        left join lateral (
          select t.task_id, x.value, pg_column_size(x.value) as size
            from unnest(k.parents) p(ord)
            join sluice.xcom x on x.task_instance_id = r.id << 20 | p.ord and x.key = 'return_value'
            cross join lateral (select t.task_id from sluice.dag_task t
                                 where t.version_id = r.version_id and t.ord = p.ord offset 0) t) x on true
       group by c.id`,
    values: [taskInstanceIds, maxBytes],
  });
  return new Map(rows.map((row) => [row.id, row.outputs ?? undefined]));
}

/** What the tasks of a run have left as their outputs, by task instance. */
export async function runOutputs(db: Db, runId: string): Promise<Map<string, Json>> {
  const { rows } = await db.query<{ id: string; value: Json }>({
    name: "run-outputs",
    text: `select task_instance_id::text as id, value from sluice.xcom
            where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
              and key = 'return_value'`,
    values: [runId],
  });
  return new Map(rows.map((row) => [row.id, row.value]));
}
