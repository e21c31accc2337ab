import type { DagLimits, LiveClass, WorkerRoom } from "#lib/domain/demand.ts";
import type { KeptLane, WorkerGroup } from "#lib/domain/lane-rooms.ts";
import type { Db } from "./pool.ts";
import { type TaskClassCache, taskClasses } from "./task-classes.ts";

/** What admission reads of limits and of what is live, without a lock, before it decides. */

/** All but what is ready: lanes, workers, limits, and what is live. */
export type Capacity = {
  lanes: KeptLane[];
  /** Lanes in which something is ready. */
  readyLanes: Set<number>;
  workers: WorkerGroup[];
  pools: Map<string, number>;
  dags: Map<string, DagLimits>;
  systemLimit: number | null;
  live: LiveClass[];
  contention: Set<string>;
  /** Limits that were lowered, by their keys, and the version of each row. */
  lowered: Map<string, string>;
  /** Some classes are said to wait. */
  anyWaits: boolean;
  apart: Apart;
};

/** What is in quarantine, because it could not be written. */
export type Apart = {
  /** Ids of task instances that are left out now. */
  tasks: ReadonlySet<string>;
  /** Ids of task classes whose reasons are left out now. */
  classes: ReadonlySet<number>;
  /** There is some of either, left out or tried again. */
  isKnown: boolean;
};

type CapacityRow = {
  lanes: (Omit<KeptLane, "clock"> & Record<"time" | "high" | "medium" | "low", number>)[];
  ready: number[];
  workers: {
    queues: string[];
    process: number;
    function: number;
    inline: number;
    pa: number;
    fa: number;
    ia: number;
  }[];
  pools: { name: string; slots: number }[];
  dags: ({ id: string } & DagLimits)[];
  systemLimit: number | null;
  /** `class:count`, separated by commas: as rows, two thousand of them cost more than all the rest. */
  live: string | null;
  contention: string[];
  lowered: { key: string; version: string }[] | null;
  anyWaits: boolean;
  apart: { duty: "admit" | "waits"; key: string; held: boolean }[] | null;
};

/**
 * One row, however much is ready: lanes with something ready are found by skipping through the partial index. Workers that
 * serve the same queues are added up, and only DAGs with a limit are read.
 */
export async function readCapacity(db: Db, known: TaskClassCache): Promise<Capacity> {
  const { rows } = await db.query<CapacityRow>({
    name: "read-capacity",
    text: `
      with recursive ready as (
        (select lane_id from sluice.task_instance where admissible order by lane_id limit 1)
        union all
        select t.lane_id from ready, lateral (
          select t.lane_id from sluice.task_instance t
           where t.admissible and t.lane_id > ready.lane_id order by t.lane_id limit 1) t),
      live as materialized (select workload_id, count(*) as n from sluice.live_attempt group by 1)
      select array(select lane_id from ready) as ready,
             (select coalesce(json_agg(l), '[]') from (
                select id, queue, slot_class as "slotClass", slots, room, group_id as "groupId", group_room as "groupRoom",
                       own_slots as "ownSlots", time, high, medium, low
                  from sluice.lane) l) as lanes,
             (select coalesce(json_agg(w), '[]') from (
                select queues, sum(process_slots) as process, sum(function_slots) as function, sum(inline_slots) as inline,
                       sum(process_ahead) as pa, sum(function_ahead) as fa, sum(inline_slots / 2) as ia
                  from sluice.worker where state = 'active' and lease_until > (select sluice.clock())
                 group by queues) w) as workers,
             (select coalesce(json_agg(p), '[]') from (select name, slots from sluice.pool) p) as pools,
             (select coalesce(json_agg(d), '[]') from (
                select id, max_active_tasks as "limit", max_active_tasks_per_run as "runLimit" from sluice.dag
                 where max_active_tasks is not null or max_active_tasks_per_run is not null) d) as dags,
             (select value from sluice.system_limit where name = 'max_active_tasks') as "systemLimit",
             (select string_agg(workload_id || ':' || n, ',') from live) as live,
             array(select key from sluice.contention) as contention,
             (select json_agg(json_build_object('key', key, 'version', xmin::text)) from sluice.lowered_limit) as lowered,
             exists (select from sluice.workload_wait) as "anyWaits",
             (select json_agg(json_build_object('duty', duty, 'key', key, 'held', retry_at > (select sluice.clock())))
                from sluice.quarantine where duty in ('admit', 'waits')) as apart`,
  });
  const row = rows[0]!;
  const live = pairs(row.live);
  const classes = await taskClasses(db, known, live.keys());
  return {
    lanes: row.lanes.map(({ time, high, medium, low, ...lane }) => ({ ...lane, clock: { time, high, medium, low } })),
    readyLanes: new Set(row.ready),
    workers: row.workers.map(({ queues, process, function: fn, inline, pa, fa, ia }) => ({
      queues,
      slots: { process, function: fn, inline },
      ahead: { process: pa, function: fa, inline: ia },
    })),
    pools: new Map(row.pools.map(({ name, slots }) => [name, slots])),
    dags: new Map(row.dags.map(({ id, ...limits }) => [id, limits])),
    systemLimit: row.systemLimit,
    live: [...live].flatMap(([id, n]) => (classes.has(id) ? [{ of: classes.get(id)!, live: n }] : [])),
    contention: new Set(row.contention),
    lowered: new Map((row.lowered ?? []).map(({ key, version }) => [key, version])),
    anyWaits: row.anyWaits,
    apart: apartOf(row.apart ?? []),
  };
}

function apartOf(rows: NonNullable<CapacityRow["apart"]>): Apart {
  const held = (of: "admit" | "waits"): string[] =>
    rows.filter(({ duty, held: isHeld }) => duty === of && isHeld).map(({ key }) => key);
  return { tasks: new Set(held("admit")), classes: new Set(held("waits").map(Number)), isKnown: rows.length > 0 };
}

function pairs(text: string | null): Map<number, number> {
  return new Map((text?.split(",") ?? []).map((pair) => pair.split(":").map(Number) as [number, number]));
}

type WorkerRow = Pick<WorkerRoom, "id" | "queues" | "offers" | "version" | "slots" | "freeSlots" | "size" | "free">;

/**
 * Live workers and what is free of each. What is assigned to one counts as taken before it runs. Nothing is assigned ahead of a
 * free slot: it would wait there for as long as what runs there, while other workers fall idle.
 */
export async function readWorkers(db: Db): Promise<WorkerRoom[]> {
  const { rows } = await db.query<WorkerRow>({
    name: "read-workers",
    text: `
      with taken as materialized (
        select coalesce(a.worker_id, a.assigned_to) as id, w.slot_class, count(*)::int as n, sum(w.cpu)::int as cpu,
               sum(w.memory)::int as memory
          from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
         where a.worker_id is not null or a.assigned_to is not null group by 1, 2)
      select k.id, k.queues, k.offers, k.version,
             json_build_object('process', k.process_slots, 'function', k.function_slots, 'inline', k.inline_slots) as slots,
             json_build_object('process', k.process_slots - t.process, 'function', k.function_slots - t.function,
                               'inline', k.inline_slots - t.inline) as "freeSlots",
             json_build_object('cpu', k.cpu, 'memory', k.memory) as size,
             json_build_object('cpu', k.cpu - t.cpu, 'memory', k.memory - t.memory) as free
        from sluice.worker k
        cross join lateral (
          select coalesce(sum(n) filter (where slot_class = 'process'), 0)::int as process,
                 coalesce(sum(n) filter (where slot_class = 'function'), 0)::int as function,
                 coalesce(sum(n) filter (where slot_class = 'inline'), 0)::int as inline,
                 coalesce(sum(cpu), 0)::int as cpu, coalesce(sum(memory), 0)::int as memory
            from taken where taken.id = k.id) t
       where k.state = 'active' and k.lease_until > (select sluice.clock())`,
  });
  return rows;
}

/** DAGs of which a run has more live tasks of these classes than its limit; limits are by class. */
export async function overRunLimits(db: Db, limits: ReadonlyMap<number, number>): Promise<string[]> {
  const { rows } = await db.query<{ dagId: string }>({
    name: "over-run-limits",
    text: `
      with l as materialized (select * from unnest($1::int[], $2::int[]) l(id, most)),
      live as materialized (
        select a.task_instance_id >> 20 as run, a.workload_id as id, count(*) as n from sluice.live_attempt a
         where a.workload_id = any ($1::int[]) group by 1, 2)
      select distinct w.dag_id as "dagId"
        from (select run, min(id) as id, sum(n) as n from live group by run) x
        join sluice.workload w on w.id = x.id
        join l on l.id = x.id
       where x.n > l.most`,
    values: [[...limits.keys()], [...limits.values()]],
  });
  return rows.map(({ dagId }) => dagId);
}
