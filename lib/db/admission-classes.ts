import { isParticular, type ReadyClass, type ReadyRun, type TaskClass } from "#lib/domain/demand.ts";
import type { Db } from "./pool.ts";
import { type TaskClassCache, taskClasses } from "./task-classes.ts";

/** What admission reads of what is ready, without a lock, before it decides. */

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
  apart: readonly string[],
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
        select lane, id, greatest(1, ceil(2.0 * room * least(1, $3::float8 / count(*) over (partition by lane))))::int as most from ready),
      stopped as materialized (select cardinality($4::bigint[]) > 0 or exists (select from sluice.run_action) as any)
      select string_agg(
               case when b.most = 1 and not s.any then b.id::text else b.id || ' ' || b.most || ' ' ||
                 (select count(*) from (
                    select from sluice.task_instance t
                     where t.admissible and t.lane_id = b.lane and t.workload_id = b.id and t.id <> all ($4)
                       and (not s.any or not exists (select from sluice.run_action a where a.run_id = t.id >> 20))
                     limit b.most + 1) n) end, ',') as classes
        from bounded b, stopped s`,
    values: [lanes.map(({ id }) => id), lanes.map(({ room }) => room), 4 ** nth, apart],
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
    // All of it is in quarantine or of runs that a person's action holds back: it must not take the place of what can go.
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
  apart: readonly string[],
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
                   and t.id < (r.run + 1) << 20 and t.id <> all ($6) limit $3) x) as ready,
             (select count(*)::int from sluice.live_attempt a
               where a.task_instance_id >= r.run << 20 and a.task_instance_id < (r.run + 1) << 20) as live
        from runs r where not exists (select from sluice.run_action a where a.run_id = r.run) order by r.id, r.run`,
    values: [
      classes.map(({ id }) => id),
      classes.map(({ laneId }) => laneId),
      Math.max(1, most),
      MAX_RUNS,
      classes.map(({ dagId }) => limitOf(dagId)),
      apart,
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
