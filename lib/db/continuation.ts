/**
 * What would take a freed slot before a child that its parent's end unlocked. A child goes on in its parent's slot
 * only when it is of the parent's workload, so that no count of any limit changes, and when nothing ready or handed
 * over goes first: older tasks of its workload, and whatever else wants the lane, the pool or the DAG's share.
 */
export const CONTINUATION = `
      ready as (
        (select workload_id, id from sluice.task_instance where state = 'ready' and not held
          order by workload_id, id limit 1)
        union all
        select t.workload_id, t.id from ready, lateral (
          select t.workload_id, t.id from sluice.task_instance t
           where t.state = 'ready' and not t.held and t.workload_id > ready.workload_id
           order by t.workload_id, t.id limit 1) t),
      handed_over as (
        (select workload_id, task_instance_id as id from sluice.live_attempt where state = 'queued'
          order by workload_id, task_instance_id limit 1)
        union all
        select a.workload_id, a.task_instance_id from handed_over h, lateral (
          select a.workload_id, a.task_instance_id from sluice.live_attempt a
           where a.state = 'queued' and a.workload_id > h.workload_id
           order by a.workload_id, a.task_instance_id limit 1) a),
      rival as materialized (
        select w.id, w.dag_id, w.queue, w.slot_class, w.pool, min(h.id) as first_id, x.code as waits_for
          from (select * from ready union all select * from handed_over) h
          join sluice.workload w on w.id = h.workload_id
          left join sluice.workload_wait x on x.workload_id = w.id
         group by w.id, x.code),
      unlocked as materialized (
        select c.id, c.workload_id, c.held, w.dag_id, w.queue, w.slot_class, w.pool, w.cpu + w.memory > 0 as asks, p.rank,
               max(p.rank) over () as best_rank,
               row_number() over (partition by c.id >> 20, c.workload_id order by c.id) as place
          from delta c
          join sluice.workload w on w.id = c.workload_id
          cross join lateral (select array_position(array['low', 'medium', 'high'], w.priority) as rank) p
         where c.open_parents = c.n),
      slot as materialized (
        select d.*, row_number() over (partition by d.task_instance_id >> 20, d.workload_id
                                       order by d.task_instance_id) as place
          from done d where d.end_state = 'success' and d.next_id is not null),
      -- A full join is never planned as a nested loop, and an inner one of two CTEs always.
      pair as materialized (
        select u.*, s.task_instance_id as after_id, s.next_id, s.next_token, s.worker_id, s.worker_epoch
          from unlocked u full join slot s
            on s.task_instance_id >> 20 = u.id >> 20 and s.workload_id = u.workload_id and s.place = u.place),
      next as materialized (
        select u.id, u.after_id, u.next_id, u.next_token, u.worker_id, u.worker_epoch
          from pair u
          join sluice.worker k on k.id = u.worker_id and k.epoch = u.worker_epoch and k.state = 'active'
          join sluice.dag d on d.id = u.dag_id
         where not u.held
           and u.rank = u.best_rank
           and not exists (
             select from rival v
              where case when v.id = u.workload_id then v.first_id < u.id
                         -- What its own limit keeps back does not want this slot.
                         when v.waits_for in ('RUN_LIMIT', 'NO_WORKER', 'POOL_MISSING', 'NO_WORKER_LARGE_ENOUGH')
                           then false
                         when v.waits_for = 'SYSTEM_LIMIT' then true
                         when v.waits_for = 'RESOURCES_TAKEN' then u.asks
                         when v.waits_for = 'POOL_FULL' then v.pool = u.pool
                         when v.waits_for = 'DAG_LIMIT' then v.dag_id = u.dag_id
                         else v.dag_id = u.dag_id or v.pool = u.pool or (v.queue, v.slot_class) = (u.queue, u.slot_class)
                    end)
           -- A limit that was lowered below what runs takes slots back as they fall free.
           and case when d.max_active_tasks is null then true
                    else d.max_active_tasks >= (select count(*) from sluice.live_attempt a
                                                  join sluice.workload w on w.id = a.workload_id
                                                 where w.dag_id = u.dag_id) end
           and coalesce((select l.value >= (select count(*) from sluice.live_attempt)
                           from sluice.system_limit l where l.name = 'max_active_tasks'), true)
           and case when d.max_active_tasks_per_run is null then true
                    else d.max_active_tasks_per_run >= (select count(*) from sluice.live_attempt a
                                                         where a.task_instance_id >= (u.id >> 20) << 20
                                                           and a.task_instance_id < ((u.id >> 20) + 1) << 20) end
           and case when u.pool is null then true
                    else (select p.slots from sluice.pool p where p.name = u.pool)
                         >= (select sum(w.slots) from sluice.live_attempt a
                               join sluice.workload w on w.id = a.workload_id where w.pool = u.pool) end),`;
