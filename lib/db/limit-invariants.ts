import { MAX_AHEAD } from "#lib/domain/lookahead.ts";
import type { Invariant } from "./invariants.ts";

/**
 * Admission admits nothing beyond a limit, but a limit can be made lower than what is admitted already: that ends in its
 * own time. So a limit is broken when there is too much of something *and* the youngest of it was admitted after the limit became what it is:
 * all the others were there before that one, which therefore had no room. `limits_since` is kept by the database.
 *
 * Who changes a limit does not wait for admission, which may have read the one before and commits at the same moment.
 */
const GRACE = "interval '2 seconds'";
const admittedSince = (since: string): string => `max(a.queued_at) > ${since} + ${GRACE}`;

const LIVE = "sluice.live_attempt a join sluice.workload w on w.id = a.workload_id";

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
    says: "tasks that are handed over or run take no more slots of a pool than it has",
    sql: `
      select p.name as pool, p.slots as "limit", sum(w.slots)::int as live
        from ${LIVE} join sluice.pool p on p.name = w.pool
       group by p.name
      having sum(w.slots) > p.slots and ${admittedSince("p.limits_since")}`,
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
  {
    id: "worker-slots",
    says: "a worker has no more tasks than slots, but for those that it has claimed ahead of their slots",
    sql: `
      select k.id as worker, w.slot_class as "slotClass", count(*)::int as live
        from ${LIVE} join sluice.worker k on k.id = a.worker_id and k.epoch = a.worker_epoch
       where a.state = 'running'
       group by k.id, w.slot_class
      having count(*) > case w.slot_class when 'process' then k.process_slots + ${MAX_AHEAD}
                                          when 'function' then k.function_slots + ${MAX_AHEAD}
                                          else k.inline_slots + ${MAX_AHEAD} end`,
  },
  {
    id: "worker-resources",
    says: "the tasks that one worker runs or is to run ask for no more processors and memory than it has",
    sql: `
      select k.id as worker, k.cpu, sum(w.cpu)::int as "cpuTaken", k.memory, sum(w.memory)::int as "memoryTaken"
        from ${LIVE} join sluice.worker k on k.id = coalesce(a.worker_id, a.assigned_to)
       where (a.worker_epoch = k.epoch or a.worker_id is null) and w.cpu + w.memory > 0
       group by k.id
      having (sum(w.cpu) > k.cpu or sum(w.memory) > k.memory) and ${admittedSince("k.started_at")}`,
  },
];
