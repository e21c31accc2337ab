import type { Invariant } from "./invariants.ts";

/**
 * Admission admits nothing beyond a limit, but a limit can be made lower than what is admitted already: that ends in its
 * own time. So a limit is broken when there is too much of something *and* the youngest of it was admitted after the limit became what it is:
 * all the others were there before that one, which therefore had no room. `limits_since` is kept by the database.
 *
 * Who changes a limit does not wait for admission, which may have read the one before and commits at the same moment.
 */
export const GRACE = "interval '2 seconds'";
export const admittedSince = (since: string): string => `max(a.queued_at) > ${since} + ${GRACE}`;

export const LIVE = "sluice.live_attempt a join sluice.workload w on w.id = a.workload_id";

/** Every limit of tasks that is promised, with what is live beyond it. */
export const LIMIT_CHECKS: readonly (Invariant & { sql: string })[] = [
  {
    id: "run-task-limit",
    says: "of a run no more tasks are handed over or run than its DAG allows for one run (maxActiveTasksPerRun)",
    sql: `
      select (a.task_instance_id >> 20)::text as run, d.max_active_tasks_per_run as "limit", count(*)::int as live
        from ${LIVE} join sluice.dag d on d.id = w.dag_id
       where d.max_active_tasks_per_run is not null
       group by a.task_instance_id >> 20, d.id
      having count(*) > d.max_active_tasks_per_run and ${admittedSince("d.limits_since")}`,
  },
  {
    id: "dag-task-limit",
    says: "of a DAG no more tasks are handed over or run than it allows (maxActiveTasks)",
    sql: `
      select d.id as dag, d.max_active_tasks as "limit", count(*)::int as live
        from ${LIVE} join sluice.dag d on d.id = w.dag_id
       where d.max_active_tasks is not null
       group by d.id
      having count(*) > d.max_active_tasks and ${admittedSince("d.limits_since")}`,
  },
  {
    id: "pool-slots",
    says: "tasks that are handed over or run take no more slots of a pool than it has, and none of one that does not exist",
    // One that was deleted has none since then, one that never was has never had any.
    sql: `
      select w.pool, coalesce(p.slots, 0) as "limit", sum(w.slots)::int as live
        from ${LIVE} left join sluice.pool p on p.name = w.pool left join sluice.deleted_pool g on g.name = w.pool
       where w.pool is not null
       group by w.pool, p.name, g.name
      having sum(w.slots) > coalesce(p.slots, 0)
             and ${admittedSince("coalesce(p.limits_since, g.limits_since, '-infinity')")}`,
  },
  {
    id: "system-task-limit",
    says: "no more tasks are handed over or run than the limit of the whole system allows",
    sql: `
      select l.name as "limit", l.value, count(*)::int as live
        from sluice.live_attempt a cross join sluice.system_limit l
       where l.name = 'max_active_tasks'
       group by l.name
      having count(*) > l.value and ${admittedSince("l.limits_since")}`,
  },
];
