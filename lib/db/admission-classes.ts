import { isParticular, type ReadyClass, type ReadyRun, type TaskClass } from "#lib/domain/demand.ts";
import type { Db } from "./pool.ts";
import { type Standing, type TaskClassCache, taskClasses } from "./task-classes.ts";

/** What admission reads of what is ready, without a lock, before it decides. */

/**
 * The classes with something ready of these lanes, each counted up to twice its fair part of the lane's room, since a class seldom
 * gets more; with more classes than that leaves a task for, each is taken to have one and perhaps more. What the others cannot take
 * is left to the passes that follow, each of which counts four times as far: blocked classes must not keep one from its room. Of
 * lanes of which many classes are known to have something ready, only what is new is read: `isFromMemory`, and some may have
 * nothing ready any more.
 */
export async function readReadyClasses(
  db: Db,
  cache: TaskClassCache,
  lanes: readonly { id: number; room: number }[],
  nth: number,
  apart: readonly string[],
): Promise<{ ready: ReadyClass[]; isFromMemory: boolean }> {
  const mayRemember = nth === 0 && apart.length === 0;
  const remembered = mayRemember ? await readNewReadyClasses(db, cache, lanes) : new Map<number, Counted[]>();
  const unknown = lanes.filter(({ id }) => !remembered.has(id));
  const read = unknown.length > 0 ? await readAllReadyClasses(db, cache, unknown, nth, apart) : [];
  const counted = [...[...remembered.values()].flat(), ...read];
  const ids = counted.map(({ id }) => id);
  const classes = await taskClasses(db, cache, ids);
  await readStandings(db, cache, ids);
  const now = performance.now();
  const ready: ReadyClass[] = [];
  for (const each of counted) {
    const of = classes.get(each.id);
    const standing = cache.standing.get(each.id);
    // All of it may be in quarantine or of runs that a person's action holds back: it must not take the place of what can go.
    if (of !== undefined && standing !== undefined && each.count > 0) ready.push(asReady(of, standing, each, now));
  }
  return { ready, isFromMemory: remembered.size > 0 };
}

function asReady(of: TaskClass, standing: Standing, { most, count }: Counted, now: number): ReadyClass {
  const { lastAdmittedAt, taken } = standing;
  const ready = Math.min(count, most);
  const hasMore = count > ready;
  const waitedMs = canBeOvertaken(of) ? standing.waitedMs + now - standing.readAt : 0;
  const isSame =
    taken?.ready === ready &&
    taken.hasMore === hasMore &&
    taken.lastAdmittedAt === lastAdmittedAt &&
    taken.waitedMs === waitedMs;
  if (isSame) return taken;
  standing.taken = { ...of, ready, hasMore, runs: null, lastAdmittedAt, waitedMs };
  return standing.taken;
}

/** A class of which something is ready, counted up to one more than `most`. */
type Counted = { id: number; most: number; count: number };

/** What is not counted: one task, and perhaps more. */
const uncounted = (id: number): Counted => ({ id, most: 1, count: 2 });

type ReadyRow = { lane: number; classes: string; since: number; any: boolean };

/**
 * Found by skipping through the partial index, so ten thousand ready tasks of a class cost no more than one. One row of text for
 * each lane, because two thousand rows cost more than all the rest.
 */
async function readAllReadyClasses(
  db: Db,
  cache: TaskClassCache,
  lanes: readonly { id: number; room: number }[],
  nth: number,
  apart: readonly string[],
): Promise<Counted[]> {
  const { rows } = await db.query<ReadyRow>({
    name: "read-ready-classes",
    text: `
      with recursive at as materialized (select date_part('epoch', sluice.clock()) * 1000 as since),
      ready as (
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
        select lane, id, greatest(1, ceil(2.0 * room * least(1, $3::float8 / count(*) over (partition by lane))))::int as most
          from ready),
      stopped as materialized (select cardinality($4::bigint[]) > 0 or exists (select from sluice.run_action) as any)
      select b.lane, (select since from at) as since, s.any, string_agg(
               case when b.most = 1 and not s.any then b.id::text else b.id || ' ' || b.most || ' ' ||
                 (select count(*) from (
                    select from sluice.task_instance t
                     where t.admissible and t.lane_id = b.lane and t.workload_id = b.id and t.id <> all ($4)
                       and (not s.any or not exists (select from sluice.run_action a where a.run_id = t.id >> 20))
                     limit b.most + 1) n) end, ',') as classes
        from bounded b, stopped s group by b.lane, s.any`,
    values: [lanes.map(({ id }) => id), lanes.map(({ room }) => room), 4 ** nth, apart],
  });
  const knownAt = performance.now();
  return rows.flatMap(({ lane, classes, since, any }) => {
    const counted = classes.split(",").map((text): Counted => {
      const [id, most = 1, count = 2] = text.split(" ").map(Number);
      return { id: id!, most, count };
    });
    // What a person's action holds back may go when that is over, which is not announced.
    if (any) cache.ready.delete(lane);
    else cache.ready.set(lane, { ids: new Set(counted.map(({ id }) => id)), doubtful: new Set(), since, knownAt });
    return counted;
  });
}

/** With fewer classes all of them are read, and counted. */
const MANY_CLASSES = 200;
/** For so long what is ready is known but for what is new; regular passes read it sooner. */
const READY_FOR_MS = 2_000;
/** A transaction that makes tasks ready takes less, or the next regular pass finds them. */
const SLACK_MS = 2_000;
const MAX_NEW = 2_000;

type NewRow = { lane: number; found: number; classes: string | null; still: string | null };

/**
 * By lane, what is ready in those of which many classes are known: what has become ready since, and of the classes that were
 * admitted those that have more. A lane is left out when it has to be read.
 */
async function readNewReadyClasses(
  db: Db,
  { ready }: TaskClassCache,
  lanes: readonly { id: number; room: number }[],
): Promise<Map<number, Counted[]>> {
  const now = performance.now();
  const known = lanes.flatMap(({ id, room }) => {
    const of = ready.get(id);
    const isEnough = of !== undefined && of.ids.size >= Math.max(MANY_CLASSES, 2 * room);
    return isEnough && now - of.knownAt < READY_FOR_MS ? [{ lane: id, of }] : [];
  });
  const result = new Map<number, Counted[]>();
  if (known.length === 0) return result;
  const doubtful = known.flatMap(({ lane, of }) => [...of.doubtful].map((id) => ({ lane, id })));
  const { rows } = await db.query<NewRow>({
    name: "read-new-ready-classes",
    text: `
      select l.id as lane, n.found, n.classes, (
               select string_agg(d.id::text, ',') from unnest($4::int[], $5::int[]) d(lane, id)
                where d.lane = l.id and exists (
                  select from sluice.task_instance t
                   where t.admissible and t.lane_id = d.lane and t.workload_id = d.id)) as still
        from unnest($1::int[], $2::float8[]) l(id, since), lateral (
          select count(*)::int as found, string_agg(distinct x.workload_id::text, ',') as classes
            from (select t.workload_id from sluice.task_instance t
                   where t.admissible and t.lane_id = l.id and t.ready_at > to_timestamp(l.since / 1000)
                   limit $3) x) n
       where not exists (select from sluice.run_action)`,
    values: [
      known.map(({ lane }) => lane),
      known.map(({ of }) => of.since - SLACK_MS),
      MAX_NEW,
      doubtful.map(({ lane }) => lane),
      doubtful.map(({ id }) => id),
    ],
  });
  for (const { lane, found, classes, still } of rows) {
    const of = ready.get(lane);
    if (of === undefined || found === MAX_NEW) continue;
    for (const { lane: its, id } of doubtful) {
      if (its !== lane) continue;
      of.ids.delete(id);
      of.doubtful.delete(id);
    }
    for (const text of [still, classes]) for (const id of text?.split(",") ?? []) of.ids.add(Number(id));
    result.set(lane, Array.from(of.ids, uncounted));
  }
  return result;
}

/** Smaller tasks may take what it lacks before it has all of it. */
export const canBeOvertaken = (of: TaskClass): boolean => of.slots > 1 || isParticular(of);

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
    standing.set(id, { lastAdmittedAt: admitted, waitedMs: waited, readAt, knownAt: readAt, written });
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

/** Classes that are said to wait. */
export async function waitingClasses(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ ids: string | null }>({
    name: "waiting-classes",
    text: "select string_agg(workload_id::text, ',') as ids from sluice.workload_wait",
  });
  return rows[0]!.ids?.split(",").map(Number) ?? [];
}
