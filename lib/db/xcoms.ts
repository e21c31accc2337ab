import type { Json } from "#lib/domain/canonical.ts";
import { type ParentXcoms, parentXcoms } from "#lib/domain/xcom.ts";
import type { Db } from "./pool.ts";

const NOT_EXPIRED = "(x.expires_at is null or x.expires_at > (select sluice.clock()))";

/**
 * What the parents of each of the task instances have left; a parent that left nothing is absent. Undefined for one whose
 * parents left more than `maxBytes` of JSON together.
 */
export async function readParentXcoms(
  db: Db,
  taskInstanceIds: readonly string[],
  maxBytes: number,
): Promise<Map<string, ParentXcoms | undefined>> {
  const { rows } = await db.query<{ id: string; left: Record<string, Record<string, Json>> | null }>({
    name: "read-parent-xcoms",
    text: `
      select c.id::text as id, case when s.bytes <= $2 then coalesce(l.left, '{}') end as left
        from unnest($1::bigint[]) c(id)
        join sluice.dag_run r on r.id = c.id >> 20
        cross join lateral (select t.parents from sluice.dag_task t
                             where t.version_id = r.version_id and t.ord = (c.id & 1048575)::int offset 0) k
        cross join lateral (
          select coalesce(sum(x.bytes), 0) as bytes
            from unnest(k.parents) p(ord)
           cross join lateral (select x.bytes from sluice.xcom x
                                where x.task_instance_id = r.id << 20 | p.ord and ${NOT_EXPIRED} offset 0) x) s
        -- Nothing is put together that is too much.
        cross join lateral (
          select jsonb_object_agg(o.task_id, o.left) as left
            from (select t.task_id, jsonb_object_agg(x.key, x.value) as left
                    from unnest(k.parents) p(ord)
                    cross join lateral (select x.key, x.value from sluice.xcom x
                                         where x.task_instance_id = r.id << 20 | p.ord and ${NOT_EXPIRED} offset 0) x
                    cross join lateral (select t.task_id from sluice.dag_task t
                                         where t.version_id = r.version_id and t.ord = p.ord offset 0) t
                   where s.bytes <= $2
                   group by t.task_id) o) l`,
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
    text: `select task_instance_id::text as id, jsonb_object_agg(key, value) as left from sluice.xcom x
            where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
              and ${NOT_EXPIRED}
            group by task_instance_id`,
    values: [runId],
  });
  return new Map(rows.map((row) => [row.id, row.left]));
}
