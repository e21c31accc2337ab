import type { Json } from "#lib/domain/canonical.ts";
import { type ParentXcoms, parentXcoms } from "#lib/domain/xcom.ts";
import type { Db } from "./pool.ts";

/**
 * What the parents of each of the task instances have left; a parent that left nothing is absent. Undefined for one whose
 * parents left more than `maxBytes` together, as Postgres keeps it.
 */
export async function readParentXcoms(
  db: Db,
  taskInstanceIds: readonly string[],
  maxBytes: number,
): Promise<Map<string, ParentXcoms | undefined>> {
  const { rows } = await db.query<{ id: string; left: Record<string, Record<string, Json>> | null }>({
    name: "read-parent-xcoms",
    text: `
      select c.id::text as id,
             case when coalesce(sum(x.size), 0) <= $2
                  then coalesce(jsonb_object_agg(x.task_id, x.left) filter (where x.task_id is not null), '{}') end as left
        from unnest($1::bigint[]) c(id)
        join sluice.dag_run r on r.id = c.id >> 20
        cross join lateral (select t.parents from sluice.dag_task t
                             where t.version_id = r.version_id and t.ord = (c.id & 1048575)::int offset 0) k
        left join lateral (
          select t.task_id, jsonb_object_agg(x.key, x.value) as left, sum(pg_column_size(x.value)) as size
            from unnest(k.parents) p(ord)
            join sluice.xcom x on x.task_instance_id = r.id << 20 | p.ord
             and (x.expires_at is null or x.expires_at > (select sluice.clock()))
            cross join lateral (select t.task_id from sluice.dag_task t
                                 where t.version_id = r.version_id and t.ord = p.ord offset 0) t
           group by t.task_id) x on true
       group by c.id`,
    values: [taskInstanceIds, maxBytes],
  });
  return new Map(rows.map((row) => [row.id, row.left === null ? undefined : parentXcoms(row.left)]));
}

const EXPIRED_AT_ONCE = 10_000;

/** Removes what has expired; at most so many in one statement, so that it never holds up a vacuum for long. */
export async function deleteExpiredXcoms(db: Db): Promise<void> {
  for (let deleted = EXPIRED_AT_ONCE; deleted === EXPIRED_AT_ONCE;) {
    const { rowCount } = await db.query({
      name: "delete-expired-xcoms",
      text: `delete from sluice.xcom where (task_instance_id, key) in (
               select task_instance_id, key from sluice.xcom
                where expires_at <= (select sluice.clock()) limit ${EXPIRED_AT_ONCE})
               and expires_at <= (select sluice.clock())`,
    });
    deleted = rowCount ?? 0;
  }
}

/** What the tasks of a run have left, by task instance and key. */
export async function runXcoms(db: Db, runId: string): Promise<Map<string, Record<string, Json>>> {
  const { rows } = await db.query<{ id: string; left: Record<string, Json> }>({
    name: "run-xcoms",
    text: `select task_instance_id::text as id, jsonb_object_agg(key, value) as left from sluice.xcom
            where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
              and (expires_at is null or expires_at > (select sluice.clock()))
            group by task_instance_id`,
    values: [runId],
  });
  return new Map(rows.map((row) => [row.id, row.left]));
}
