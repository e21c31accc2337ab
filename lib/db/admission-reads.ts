import {
  type DagLimits,
  isParticular,
  type LiveClass,
  type ReadyClass,
  type ReadyRun,
  type TaskClass,
  type WorkerRoom,
} from "#lib/domain/demand.ts";
import type { KeptLane, WorkerGroup } from "#lib/domain/lane-rooms.ts";
import type { Db } from "./pool.ts";
import { type TaskClassCache, taskClasses } from "./task-classes.ts";

/** What admission reads, without a lock, before it decides. */

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
  contention: string | null;
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
             (select string_agg(key, ',') from sluice.contention) as contention`,
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
    contention: new Set(row.contention?.split(",")),
  };
}

function pairs(text: string | null): Map<number, number> {
  return new Map((text?.split(",") ?? []).map((pair) => pair.split(":").map(Number) as [number, number]));
}

/**
 * The classes with something ready of these lanes, each counted up to twice its fair part of the lane's room, since a class seldom
 * gets more; with more classes than that leaves a task for, each is taken to have one and perhaps more. What the others cannot take
 * is left to the passes that follow, each of which counts four times as far: blocked classes must not keep one from its room. Found by skipping through
 * the partial index, so ten thousand ready tasks of a class cost no more than one. One row of text, for the same reason as above.
 */
export async function readReadyClasses(
  db: Db,
  cache: TaskClassCache,
  lanes: readonly { id: number; room: number }[],
  nth: number,
): Promise<ReadyClass[]> {
  const { rows } = await db.query<{ classes: string | null }>({
    name: "read-ready-classes",
    text: `
      with recursive ready as (
        select l.id as lane, l.room, t.workload_id as id
          from unnest($1::int[], $2::int[]) l(id, room), lateral (
            select t.workload_id from sluice.task_instance t
             where t.admissible and t.lane_id = l.id order by t.workload_id limit 1) t
        union all
        select r.lane, r.room, t.workload_id
          from ready r, lateral (
            select t.workload_id from sluice.task_instance t
             where t.admissible and t.lane_id = r.lane and t.workload_id > r.id order by t.workload_id limit 1) t),
      bounded as (
        select lane, id, greatest(1, ceil(2.0 * room * least(1, $3 / count(*) over (partition by lane))))::int as most from ready),
      stopped as materialized (select exists (select from sluice.run_action) as any)
      select string_agg(
               case when b.most = 1 and not s.any then b.id::text else b.id || ' ' || b.most || ' ' ||
                 (select count(*) from (
                    select from sluice.task_instance t
                     where t.admissible and t.lane_id = b.lane and t.workload_id = b.id
                       and (not s.any or not exists (select from sluice.run_action a where a.run_id = t.id >> 20))
                     limit b.most + 1) n) end, ',') as classes
        from bounded b, stopped s`,
    values: [lanes.map(({ id }) => id), lanes.map(({ room }) => room), 4 ** nth],
  });
  const fields = (rows[0]!.classes?.split(",") ?? []).map((text) => text.split(" ").map(Number));
  const ids = fields.map(([id]) => id!);
  const classes = await taskClasses(db, cache, ids);
  await readStandings(db, cache, ids);
  const now = performance.now();
  return fields.flatMap(([id, most = 1, count = 2]): ReadyClass[] => {
    const of = classes.get(id!);
    const standing = cache.standing.get(id!);
    if (of === undefined || standing === undefined) return [];
    const { lastAdmittedAt, waitedMs, readAt } = standing;
    // All of it is of runs that a person's action holds back: it must not take the place of what can go.
    if (count === 0) return [];
    const ready = Math.min(count, most);
    const waited = canBeOvertaken(of) ? waitedMs + now - readAt : 0;
    return [{ ...of, ready, hasMore: count > ready, runs: null, lastAdmittedAt, waitedMs: waited }];
  });
}

/** Smaller tasks may take what it lacks before it has all of it. */
const canBeOvertaken = (of: TaskClass): boolean => of.slots > 1 || isParticular(of);

type StandingRow = {
  id: number;
  admitted: number;
  waited: number;
  code: string | null;
  on: string | null;
  isOld: boolean;
};

/** Reads how those of the classes stand of which this process does not know. */
async function readStandings(db: Db, { standing }: TaskClassCache, ids: readonly number[]): Promise<void> {
  const missing = ids.filter((id) => !standing.has(id));
  if (missing.length === 0) return;
  const { rows } = await db.query<StandingRow>({
    name: "read-standings",
    text: `
      select w.id, coalesce(date_part('epoch', w.last_admitted_at) * 1000, 0) as admitted,
             case when w.slots > 1 or w.cpu + w.memory > 0 or w.needs <> '{}' then
               coalesce((select greatest(0, date_part('epoch', sluice.clock() - greatest(t.ready_at, w.last_admitted_at)) * 1000)
                           from sluice.task_instance t
                          where t.admissible and t.lane_id = w.lane_id and t.workload_id = w.id order by t.id limit 1), 0)
             else 0 end as waited,
             x.code, x.blocked_on[1] as "on", coalesce(x.detail_at < sluice.clock() - interval '1 min', false) as "isOld"
        from unnest($1::int[]) c(id)
        join sluice.workload w on w.id = c.id
        left join sluice.workload_wait x on x.workload_id = c.id`,
    values: [missing],
  });
  const readAt = performance.now();
  for (const { id, admitted, waited, code, on, isOld } of rows) {
    const written = code === null ? null : { code, blockedOn: on, isOld };
    standing.set(id, { lastAdmittedAt: admitted, waitedMs: waited, readAt, written });
  }
}

/** Runs of a class looked at in one pass; each has ready tasks, and all but a few have a live one that makes room. */
const MAX_RUNS = 1_000;

/**
 * The ready tasks of these classes by run, and what is live of each run: for classes of DAGs that limit the tasks of one run.
 * Runs with something ready are found by skipping through the partial index.
 */
export async function readReadyRuns(
  db: Db,
  classes: readonly Pick<ReadyClass, "id" | "laneId" | "dagId">[],
  most: number,
  limitOf: (dagId: string) => number,
): Promise<{ runs: Map<number, { runs: ReadyRun[]; hasMore: boolean }>; live: Map<string, number> }> {
  const { rows } = await db.query<{ id: number; runId: string; ready: number; live: number }>({
    name: "read-ready-runs",
    text: `
      with recursive runs as (
        select c.id, c.lane, c.most, t.id >> 20 as run, 1 as n
          from unnest($1::int[], $2::int[], $5::int[]) c(id, lane, most), lateral (
            select t.id from sluice.task_instance t
             where t.admissible and t.lane_id = c.lane and t.workload_id = c.id order by t.id limit 1) t
        union all
        -- Full runs do not count: there are no more of them than live attempts.
        select r.id, r.lane, r.most, t.id >> 20,
               r.n + case when (select count(*) from sluice.live_attempt a
                                 where a.task_instance_id >= r.run << 20 and a.task_instance_id < (r.run + 1) << 20) < r.most
                          then 1 else 0 end
          from runs r, lateral (
            select t.id from sluice.task_instance t
             where t.admissible and t.lane_id = r.lane and t.workload_id = r.id and t.id >= (r.run + 1) << 20
             order by t.id limit 1) t
         where r.n < $4)
      select r.id, r.run::text as "runId",
             (select count(*)::int from (
                select from sluice.task_instance t
                 where t.admissible and t.lane_id = r.lane and t.workload_id = r.id and t.id >= r.run << 20
                   and t.id < (r.run + 1) << 20 limit $3) x) as ready,
             (select count(*)::int from sluice.live_attempt a
               where a.task_instance_id >= r.run << 20 and a.task_instance_id < (r.run + 1) << 20) as live
        from runs r where not exists (select from sluice.run_action a where a.run_id = r.run) order by r.id, r.run`,
    values: [
      classes.map(({ id }) => id),
      classes.map(({ laneId }) => laneId),
      Math.max(1, most),
      MAX_RUNS,
      classes.map(({ dagId }) => limitOf(dagId)),
    ],
  });
  const runs = new Map(
    [...Map.groupBy(rows, ({ id }) => id)].map(([id, of]) => [
      id,
      { runs: of.map(({ runId, ready }) => ({ runId, ready })), hasMore: of.length >= MAX_RUNS },
    ]),
  );
  return { runs, live: new Map(rows.map(({ runId, live }) => [runId, live])) };
}

type WorkerRow = Pick<WorkerRoom, "id" | "queues" | "offers" | "version"> &
  Record<"process" | "function" | "inline" | "pa" | "fa" | "ia" | "cpu" | "memory" | "freeCpu" | "freeMemory", number>;

/**
 * Live workers and what is free of each. What is assigned to one counts as taken before it runs; some more than it has slots
 * for may be assigned to it, which it takes before anything else.
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
      select k.id, k.queues, k.offers, k.version, k.cpu, k.memory, k.process_slots - t.process as process,
             k.function_slots - t.function as function, k.inline_slots - t.inline as inline,
             case when k.process_slots > 0 then greatest(1, k.process_slots / 4) else 0 end as pa,
             case when k.function_slots > 0 then greatest(1, k.function_slots / 4) else 0 end as fa,
             case when k.inline_slots > 0 then greatest(1, k.inline_slots / 4) else 0 end as ia,
             k.cpu - t.cpu as "freeCpu", k.memory - t.memory as "freeMemory"
        from sluice.worker k
        cross join lateral (
          select coalesce(sum(n) filter (where slot_class = 'process'), 0)::int as process,
                 coalesce(sum(n) filter (where slot_class = 'function'), 0)::int as function,
                 coalesce(sum(n) filter (where slot_class = 'inline'), 0)::int as inline,
                 coalesce(sum(cpu), 0)::int as cpu, coalesce(sum(memory), 0)::int as memory
            from taken where taken.id = k.id) t
       where k.state = 'active' and k.lease_until > (select sluice.clock())`,
  });
  return rows.map(({ id, queues, offers, version, cpu, memory, freeCpu, freeMemory, pa, fa, ia, ...free }) => ({
    id,
    queues,
    offers,
    version,
    // Nothing is assigned ahead of a free slot: it would wait there for as long as what runs, whoever else falls idle.
    slots: { process: free.process, function: free.function, inline: free.inline },
    ahead: { process: 0, function: 0, inline: 0 },
    free: { cpu: freeCpu, memory: freeMemory },
    size: { cpu, memory },
  }));
}

/** Classes that are said to wait and have nothing ready, at most 10,000. */
export async function waitingNoMore(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ id: number }>({
    name: "waiting-no-more",
    text: `
      select x.workload_id as id from sluice.workload_wait x left join sluice.workload w on w.id = x.workload_id
       where not exists (select from sluice.task_instance t
                          where t.admissible and t.lane_id = w.lane_id and t.workload_id = x.workload_id)
       limit 10000`,
  });
  return rows.map(({ id }) => id);
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
