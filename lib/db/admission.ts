import { type Demand, isParticular, type WorkerRoom, type Workload } from "#lib/domain/demand.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import type { Db, Tx } from "./pool.ts";

/** Any number that no other user of advisory locks in this database takes: "sluice" in ASCII, shortened. */
const ADMISSION_LOCK = 0x736c7569;

/** One admission at a time: without it two passes would count the same free slots. Held to the end of `tx`. */
export async function lockAdmission(tx: Tx): Promise<void> {
  await tx.query({ name: "lock-admission", text: "select pg_advisory_xact_lock($1)", values: [ADMISSION_LOCK] });
}

type WorkloadRow = {
  id: number;
  dagId: string;
  lane: string;
  laneSlots: number | null;
  laneFree: number | null;
  priority: Priority;
  pool: string | null;
  poolSize: number | null;
  poolTaken: number;
  slots: number;
  cpu: number;
  memory: number;
  needs: string[];
  systemLimit: number | null;
  systemTaken: number;
  dagLimit: number | null;
  dagTaken: number;
  runLimit: number | null;
  starvedMs: number;
  candidates: string[];
  hasMore: boolean;
};

/**
 * What is ready, by workload, with what its limits leave. Under `lockAdmission` this must be a statement of its own:
 * the counts need a snapshot taken after the lock.
 *
 * A lane's room is its slots plus a quarter (at least one), the dispatch window: the next task is at the worker when
 * a slot falls free, and the order is still decided late. Workers whose tasks are short claim some ahead; the window
 * is then twice that, so that the next are handed over while those run. What runs inside the worker is mostly over in no
 * time, so there the window is as large as the slots. Workloads with something ready are found by skipping
 * through the partial index, so that ten thousand ready tasks cost no more than one.
 */
export async function readDemand(db: Db): Promise<Demand> {
  const { rows } = await db.query<WorkloadRow>({
    name: "read-demand",
    text: `
      with recursive ready as (
        (select lane_id, workload_id as id from sluice.task_instance where admissible
          order by lane_id, workload_id limit 1)
        union all
        select t.lane_id, t.id from ready, lateral (
          select t.lane_id, t.workload_id as id from sluice.task_instance t
           where t.admissible and (t.lane_id, t.workload_id) > (ready.lane_id, ready.id)
           order by t.lane_id, t.workload_id limit 1) t),
      lane as (
        select q.queue, c.slot_class, sum(c.slots)::int as slots, sum(c.ahead)::int as ahead
          from sluice.worker w, unnest(w.queues) q(queue),
               lateral (values ('process', w.process_slots, w.process_ahead), ('function', w.function_slots, w.function_ahead),
                               ('inline', w.inline_slots, w.inline_slots / 2)) c(slot_class, slots, ahead)
         where w.state = 'active' and w.lease_until > (select sluice.clock()) and c.slots > 0
         group by 1, 2),
      taken as materialized (
        select a.workload_id as id, w.dag_id, w.queue, w.slot_class, w.pool, count(*)::int as n,
               count(*)::int * w.slots as pool_slots, max(a.queued_at) as last_at
          from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
         group by 1, 2, 3, 4, 5, w.slots),
      lane_taken as (select queue, slot_class, sum(n)::int as n from taken group by 1, 2),
      dag_taken as (select dag_id, sum(n)::int as n from taken group by 1),
      pool_taken as (select pool, sum(pool_slots)::int as n from taken where pool is not null group by 1),
      work as materialized (
        select w.*, d.max_active_tasks, d.max_active_tasks_per_run, lane.slots as lane_slots,
               lane.slots + greatest(1, lane.slots / 4, 2 * lane.ahead) - coalesce(lane_taken.n, 0) as free
          from ready
          join sluice.workload w on w.id = ready.id
          join sluice.dag d on d.id = w.dag_id
          left join lane using (queue, slot_class)
          left join lane_taken using (queue, slot_class))
      select work.id, work.dag_id as "dagId", work.queue || '.' || work.slot_class as lane,
             work.lane_slots as "laneSlots", work.free as "laneFree", work.priority, work.pool, p.slots as "poolSize",
             coalesce(pt.n, 0) as "poolTaken", work.slots, work.cpu, work.memory, work.needs,
             (select value from sluice.system_limit where name = 'max_active_tasks') as "systemLimit",
             (select coalesce(sum(n), 0)::int from taken) as "systemTaken", work.max_active_tasks as "dagLimit",
             coalesce(dt.n, 0) as "dagTaken", work.max_active_tasks_per_run as "runLimit",
             greatest(0, extract(epoch from sluice.clock() - greatest(head.ready_at, taken.last_at)) * 1000)::float8
               as "starvedMs",
             (case when work.max_active_tasks_per_run is null then
                array(select t.id::text from sluice.task_instance t
                       where t.lane_id = work.lane_id and t.workload_id = work.id and t.admissible
                       order by t.id limit greatest(work.free, 0))
              else
                array(select t.id::text
                        from sluice.dag_run r,
                             lateral (select count(*)::int as n from sluice.live_attempt a
                                       where a.task_instance_id >= r.id << 20 and a.task_instance_id < (r.id + 1) << 20) l,
                             lateral (select t.id from sluice.task_instance t
                                       where t.lane_id = work.lane_id and t.workload_id = work.id and t.admissible
                                         and t.id >= r.id << 20 and t.id < (r.id + 1) << 20
                                       order by t.id limit greatest(work.max_active_tasks_per_run - l.n, 0)) t
                       where r.dag_id = work.dag_id and r.state = 'running'
                       order by t.id limit greatest(work.free, 0))
              end) as candidates,
             exists (select from sluice.task_instance t
                      where t.lane_id = work.lane_id and t.workload_id = work.id and t.admissible
                      offset greatest(work.free, 0)) or work.max_active_tasks_per_run is not null as "hasMore"
        from work
        cross join lateral (
          select t.ready_at from sluice.task_instance t
           where t.lane_id = work.lane_id and t.workload_id = work.id and t.admissible order by t.id limit 1) head
        left join taken on taken.id = work.id
        left join dag_taken dt on dt.dag_id = work.dag_id
        left join sluice.pool p on p.name = work.pool
        left join pool_taken pt on pt.pool = work.pool
       order by work.id`,
  });
  const workloads = rows.map(toWorkload);
  return {
    workloads,
    // Few tasks want a certain worker, and only for them it matters what each one has.
    workers: workloads.some(isParticular) ? await readWorkers(db) : [],
    system: { limit: rows[0]?.systemLimit ?? null, taken: rows[0]?.systemTaken ?? 0 },
  };
}

function toWorkload(row: WorkloadRow): Workload {
  const { id, dagId, lane, laneFree, priority, slots, runLimit, starvedMs, candidates, hasMore } = row;
  return {
    id,
    dagId,
    lane,
    laneFree,
    priority,
    slots,
    runLimit,
    starvedMs,
    candidates,
    hasMore,
    laneSlots: row.laneSlots ?? 0,
    pool: row.pool === null ? null : { name: row.pool, size: row.poolSize, taken: row.poolTaken },
    asks: { cpu: row.cpu, memory: row.memory },
    needs: row.needs,
    dag: { limit: row.dagLimit, taken: row.dagTaken },
  };
}

type WorkerRow = Omit<WorkerRoom, "slots" | "free" | "size"> & {
  process: number;
  function: number;
  inline: number;
  cpu: number;
  memory: number;
  freeCpu: number;
  freeMemory: number;
};

/** Live workers and what is free of each. What is assigned to one counts as taken before it runs. */
async function readWorkers(db: Db): Promise<WorkerRoom[]> {
  const { rows } = await db.query<WorkerRow>({
    name: "read-workers",
    text: `
      with taken as materialized (
        select coalesce(a.worker_id, a.assigned_to) as id, w.slot_class, count(*)::int as n, sum(w.cpu)::int as cpu,
               sum(w.memory)::int as memory
          from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
         where a.worker_id is not null or a.assigned_to is not null group by 1, 2)
      select k.id, k.queues, k.offers, k.version, k.cpu, k.memory, k.process_slots + k.process_ahead - t.process as process,
             k.function_slots + k.function_ahead - t.function as function, k.inline_slots - t.inline as inline, k.cpu - t.cpu as "freeCpu",
             k.memory - t.memory as "freeMemory"
        from sluice.worker k
        cross join lateral (
          select coalesce(sum(n) filter (where slot_class = 'process'), 0)::int as process,
                 coalesce(sum(n) filter (where slot_class = 'function'), 0)::int as function,
                 coalesce(sum(n) filter (where slot_class = 'inline'), 0)::int as inline,
                 coalesce(sum(cpu), 0)::int as cpu, coalesce(sum(memory), 0)::int as memory
            from taken where taken.id = k.id) t
       where k.state = 'active' and k.lease_until > (select sluice.clock())`,
  });
  return rows.map(({ id, queues, offers, version, cpu, memory, freeCpu, freeMemory, ...slots }) => ({
    id,
    queues,
    offers,
    version,
    slots,
    free: { cpu: freeCpu, memory: freeMemory },
    size: { cpu, memory },
  }));
}

/** `lane` is the name to announce: of its lane, or of the only worker that may take it. */
export type Admitted = { taskInstanceId: string; attemptId: string; lane: string; runId: string };

/**
 * `ready` → `queued` for these task instances, with a new attempt or the one that goes on with a look; one that somebody
 * else holds or has moved is left out.
 */
export async function admitReady(
  tx: Tx,
  ids: readonly string[],
  assigned: ReadonlyMap<string, string>,
): Promise<Admitted[]> {
  const { rows } = await tx.query<Admitted>({
    name: "admit-ready",
    text: `
      with pick as materialized (
        select t.id from sluice.task_instance t
         where t.id = any ($1::bigint[]) and t.admissible
         order by t.id for update skip locked),
      moved as (
        update sluice.task_instance t
           set state = 'queued', attempts = t.attempts + case when t.deferred_id is null then 1 else 0 end
          from pick where t.id = pick.id
        returning t.id, t.run_id, t.attempts, t.workload_id, t.lane_id, t.ready_at, t.deferred_id),
      born as (
        insert into sluice.live_attempt
          (task_instance_id, number, id, state, workload_id, lane_id, ready_at, assigned_to)
        select id, attempts, coalesce(deferred_id, gen_random_uuid()), 'queued', workload_id, lane_id, ready_at,
               $2::jsonb ->> id::text
          from moved order by array_position($1::bigint[], id)
        returning task_instance_id, id, workload_id, assigned_to),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        select run_id, id, attempts, 'ready', 'queued', 'admission' from moved where deferred_id is null)
      select b.task_instance_id as "taskInstanceId", b.id as "attemptId", coalesce('@' || b.assigned_to, w.queue || '.' || w.slot_class) as lane,
             (b.task_instance_id >> 20)::text as "runId"
        from born b join sluice.workload w on w.id = b.workload_id
       order by array_position($1::bigint[], b.task_instance_id)`,
    values: [ids, JSON.stringify(Object.fromEntries(assigned))],
  });
  return rows;
}

/**
 * `retrying` and `deferred` → `ready` for tasks whose time has come, the longest due first; answers how many, and
 * whether anything is ready to be admitted. Several callers at once are safe.
 */
export async function readyDue(db: Db): Promise<{ moved: number; isReady: boolean }> {
  const { rows } = await db.query<{ moved: number; isReady: boolean }>({
    name: "ready-due",
    text: `
      with due as materialized (
        select id, state from sluice.task_instance
         where id = any (array(select id from sluice.task_instance
                                where not_before is not null and not_before <= (select sluice.clock())
                                order by not_before limit 1000))
           and not_before <= (select sluice.clock())
         order by id for update skip locked),
      moved as (
        update sluice.task_instance t set state = 'ready', ready_at = sluice.clock(), not_before = null
          from due where t.id = due.id
        returning t.id, t.run_id, t.attempts, due.state as before),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        select run_id, id, attempts, before, 'ready', 'retry' from moved where before = 'retrying')
      select (select count(*)::int from moved) as moved,
             exists (select from sluice.task_instance where admissible) or exists (select from moved) as "isReady"`,
  });
  return rows[0]!;
}
