import type { Db } from "#lib/db/pool.ts";
import { runIdOf } from "#lib/domain/ids.ts";

export type Move = { from: string; to: string; attempt: number | null; reason: string | null; actor: string };

/**
 * All moves of a task instance in their order, but for `waiting` → `ready`: its events, and what the rows of its attempts say.
 * A child that continued in its parent's slot was ready, queued and begun at one moment.
 */
export async function movesOf(db: Db, taskInstanceId: string): Promise<Move[]> {
  const { rows } = await db.query<Move>(
    `with lived as (
       select number, ready_at, queued_at, started_at, worker_id, state::text, reason, ended_at
         from sluice.attempt where task_instance_id = $1::bigint
       union all
       select number, ready_at, queued_at, started_at, worker_id, 'deferred', reason, null
         from sluice.deferral where task_instance_id = $1
       union all
       select number, ready_at, queued_at, started_at, worker_id, state::text, null, null
         from sluice.live_attempt where task_instance_id = $1
          and not exists (select from sluice.deferral where task_instance_id = $1))
     select m."from", m."to", m.attempt, m.reason, m.actor
       from (select e.from_state as "from", e.to_state as "to", e.attempt, e.reason, e.actor, e.at, e.id as place
               from sluice.event e where e.run_id = $2::bigint and e.task_instance_id = $1
             union all
             select x.former, x.next, l.number, x.reason, x.actor, x.at, 0
               from lived l
              cross join lateral (
                select l.queued_at = l.started_at and l.ready_at = l.started_at as has_continued,
                       'worker:' || l.worker_id as worker) w
              cross join lateral (values
                ('waiting', 'running', case when w.has_continued then 'CONTINUED' end, w.worker,
                 case when w.has_continued then l.started_at end),
                ('ready', 'queued', null, 'admission', case when w.has_continued is not true then l.queued_at end),
                ('queued', 'running', null, w.worker, case when not w.has_continued then l.started_at end),
                ('running', 'success', l.reason, w.worker, case when l.state = 'success' then l.ended_at end))
                x(former, next, reason, actor, at)
              where x.at is not null) m
      order by m.at, m.place`,
    [taskInstanceId, runIdOf(taskInstanceId)],
  );
  return rows;
}
