import type { Occupancy, WaitReason } from "#lib/domain/wait-reason.ts";
import type { Db } from "./pool.ts";

/** Who has what others wait for: all live attempts, added up. */
export async function readOccupancy(db: Db): Promise<Occupancy[]> {
  const { rows } = await db.query<Occupancy>({
    name: "read-occupancy",
    text: `
      select w.dag_id as "dagId", w.queue || '.' || w.slot_class as lane, w.pool, count(*)::int as tasks,
             sum(w.slots)::int as slots, w.cpu + w.memory > 0 or w.needs <> '{}' as particular
        from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
       group by w.dag_id, w.queue, w.slot_class, w.pool, w.cpu + w.memory > 0 or w.needs <> '{}'`,
  });
  return rows;
}

/** False when nothing is ready and nothing is said to wait. */
export async function hasWaits(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ any: boolean }>({
    name: "has-waits",
    text: `select exists (select from sluice.task_instance where admissible)
               or exists (select from sluice.workload_wait) as any`,
  });
  return rows[0]!.any;
}

/** Replaces the whole list of waits; one that stays the same keeps its time. */
export async function replaceWaits(db: Db, waits: ReadonlyMap<number, WaitReason>): Promise<void> {
  const entries = [...waits].map(([id, { code, ...detail }]) => ({ id, code, detail: JSON.stringify(detail) }));
  await db.query({
    name: "replace-waits",
    text: `
      with w as (select * from unnest($1::int[], $2::text[], $3::jsonb[]) w(id, code, detail)),
      gone as (delete from sluice.workload_wait x where not exists (select from w where w.id = x.workload_id))
      insert into sluice.workload_wait (workload_id, code, detail) select id, code, detail from w
      on conflict (workload_id) do update set code = excluded.code, detail = excluded.detail,
        since = case when workload_wait.code = excluded.code then workload_wait.since else sluice.clock() end
        where (workload_wait.code, workload_wait.detail) is distinct from (excluded.code, excluded.detail)`,
    values: [entries.map((e) => e.id), entries.map((e) => e.code), entries.map((e) => e.detail)],
  });
}
