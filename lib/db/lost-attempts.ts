import type { Db } from "./pool.ts";
import type { WorkerRef } from "./claims.ts";

export type LostReason = "LEASE_EXPIRED" | "WORKER_RESTARTED" | "DRAINED" | "REPLY_LOST" | "NOT_BEGUN";

/** Larger than any count of lost attempts (Postgres int). */
const NO_LIMIT = 2 ** 31 - 1;

/**
 * Right after Postgres came back every lease looks expired, so none counts until workers had time to renew. `ms` is the
 * statement's parameter of the lease's length.
 */
export const isExpired = (ms: string): string => `a.lease_until < (select sluice.clock())
    and clock_timestamp() - pg_postmaster_start_time() > ${ms} * interval '1 ms'`;

/**
 * Which running attempts have lost their worker. The condition is part of every write that acts on
 * it.
 */
const LOST_WHEN = {
  LEASE_EXPIRED: `${isExpired("$2")} and $1::text is null`,
  WORKER_RESTARTED: "a.worker_id = $1 and a.worker_epoch < $2",
  DRAINED: "a.worker_id = $1 and a.worker_epoch = $2",
  // The worker never heard that they are its own.
  REPLY_LOST: "a.worker_id = $1 and a.token = any ($2::uuid[])",
  // Claimed ahead of a slot that did not fall free in time.
  NOT_BEGUN: "a.worker_id = $1 and a.token = any ($2::uuid[])",
} as const satisfies Record<LostReason, string>;

/**
 * The process said that it has stopped, and what it ran is dead; it could not take the locks to
 * give this back.
 */
export const IS_LEFT_BY_A_STOPPED_WORKER = `exists (
  select from sluice.worker w where w.id = a.worker_id and w.epoch = a.worker_epoch and w.state = 'stopped')`;

const ONLY_THESE = "($5::bigint[] is null or a.task_instance_id = any ($5))";

const AT_ONCE = 200;

/** Workers that a task has lost when it is suspect: `task_instance.suspect`, with which a test compares it. */
export const SUSPECT_AFTER = 3;

export type Released = {
  /**
   * Attempts that it found, of which those that others hold are left as they are; 0 says that
   * nothing is left.
   */
  found: number;
  /** Runs whose tasks are `ready` again. */
  runs: string[];
  /** Those tasks. */
  taskInstanceIds: string[];
  /** Some of them are suspect, and wait apart. */
  isAnyApart: boolean;
  /**
   * Attempts left as they are, because their task has lost its worker too often: the caller ends
   * them.
   */
  exhausted: { taskInstanceId: string; token: string }[];
};

type Release = {
  reason: LostReason;
  when?: string;
  values: [string | null, unknown];
  allowance: number;
  only?: readonly string[] | undefined;
  /** Passes over what others hold; only the sweep does, because it comes again. */
  skips: boolean;
};

/**
 * Ends running attempts without a worker, all or those of `only` some tasks, as `lost` and makes
 * their tasks `ready` again, at most 200 a call. One that has said "not yet" before continues with
 * another look: only this look is lost. A drained attempt does not count against `allowance`, nor
 * does one that its worker never began. Safe beside others of its kind.
 */
async function release(db: Db, { reason, when = LOST_WHEN[reason], ...options }: Release): Promise<Released> {
  const { values, allowance, only = null, skips } = options;
  const lock = skips ? "skip locked" : "";
  type Row = { id: string; runId: string; token: string | null; found: number | null; apart: boolean | null };
  const { rows } = await db.query<Row>({
    name: `release-${reason}${skips ? "-skipping" : ""}`,
    text: `
      with wanted as materialized (
        select a.task_instance_id as id from sluice.live_attempt a
         where a.state = 'running' and ${when} and ${ONLY_THESE} order by 1 limit ${AT_ONCE}),
      run as materialized (
        select r.id from sluice.dag_run r
         where r.id = any (array(select id >> 20 from wanted)) order by r.id for key share ${lock}),
      lk as materialized (
        select t.id, t.lost_attempts, t.deferred_id from sluice.task_instance t
         where t.id = any (array(select w.id from wanted w join run on run.id = w.id >> 20))
         order by t.id for update ${lock}),
      -- In the order in which heartbeats take them, which lock nothing else.
      live as materialized (
        select a.task_instance_id as id from sluice.live_attempt a
         where a.task_instance_id = any (array(select id from lk where lost_attempts < $3)) and a.state = 'running' and ${when}
         order by 1 for update),
      gone as (
        delete from sluice.live_attempt a
         where a.task_instance_id = any (array(select id from live)) and a.state = 'running' and ${when}
        returning a.*),
      moved as (
        update sluice.task_instance t
           set state = 'ready', ready_at = sluice.clock(),
               started_at = case when t.deferred_id is null then null else t.started_at end,
               lost_attempts = t.lost_attempts + case when $4 in ('DRAINED', 'REPLY_LOST', 'NOT_BEGUN') then 0 else 1 end,
               waits_apart = $4 not in ('DRAINED', 'REPLY_LOST', 'NOT_BEGUN') and t.lost_attempts + 1 >= ${SUSPECT_AFTER}
         where t.id = any (array(select task_instance_id from gone))
        returning t.id, t.waits_apart),
      history as (
        insert into sluice.attempt (task_instance_id, number, id, state, reason, worker_id, worker_version, ready_at,
                                    queued_at, started_at, heartbeat_at)
        select task_instance_id, number, id, 'lost', $4, worker_id, worker_version, ready_at, queued_at, started_at,
               coalesce(heartbeat_at, started_at) from gone
         where task_instance_id <> all (array(select id from lk where deferred_id is not null))),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
        select task_instance_id >> 20, task_instance_id, number, 'running', 'ready', $4, 'sweep' from gone)
      select id, id >> 20 as "runId", null as token, null::int as found, waits_apart as apart from moved
      union all
      select a.task_instance_id, a.task_instance_id >> 20, a.token, null, null
        from sluice.live_attempt a
       where a.task_instance_id = any (array(select id from lk where lost_attempts >= $3)) and a.state = 'running' and ${when}
      union all
      select null, null, null, count(*)::int, null from wanted`,
    values: [...values, allowance, reason, only],
  });
  const taken = rows.filter((row) => row.found === null);
  const ready = taken.filter((row) => row.token === null);
  return {
    found: rows.find((row) => row.found !== null)?.found ?? 0,
    runs: [...new Set(ready.map((row) => row.runId))],
    taskInstanceIds: ready.map((row) => row.id),
    isAnyApart: ready.some(({ apart }) => apart === true),
    exhausted: taken.flatMap((row) => (row.token === null ? [] : [{ taskInstanceId: row.id, token: row.token }])),
  };
}

/**
 * The tasks of attempts whose lease has run out, the first 200 with an id above `after`; none while
 * Postgres itself is younger than a lease.
 */
export async function expiredAttempts(db: Db, leaseMs: number, after: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "expired-attempts",
    text: `select a.task_instance_id as id from sluice.live_attempt a
            where a.state = 'running' and ${LOST_WHEN.LEASE_EXPIRED} and a.task_instance_id > $3
              and not exists (select from sluice.quarantine q where q.duty = 'sweep' and q.key = a.task_instance_id::text
                                 and q.retry_at > (select sluice.clock()))
            order by 1 limit ${AT_ONCE}`,
    values: [null, leaseMs, after],
  });
  return rows.map((row) => row.id);
}

/**
 * What had a lease that has run out, of all or of these tasks; none while Postgres itself is
 * younger than a lease of `leaseMs`. Passes over what others hold.
 */
export function releaseExpired(
  db: Db,
  leaseMs: number,
  allowance: number,
  taskInstanceIds?: readonly string[],
): Promise<Released> {
  return release(db, {
    reason: "LEASE_EXPIRED",
    values: [null, leaseMs],
    allowance,
    only: taskInstanceIds,
    skips: true,
  });
}

/** How many live workers, those of which `and` is true, have slots for what waits in the lane `l`. */
export const workersOfLane = (and: string): string => `(
  select count(*) from sluice.worker k
   where k.state = 'active' and k.lease_until > (select sluice.clock()) and l.queue = any (k.queues)
     and case l.slot_class when 'process' then k.process_slots when 'function' then k.function_slots else k.inline_slots end > 0
     and ${and})`;

/**
 * Lets suspect tasks go that wait apart, the oldest of each lane first: as many as live workers serve the lane, less those of the lane
 * that run or are handed over. What is let go is admitted as any other, and a claim gives a worker one of them at a time. Returns
 * their runs. Passes over what others hold.
 */
export async function letSuspectsGo(db: Db): Promise<string[]> {
  const waits = "t.suspect and t.waits_apart and t.state = 'ready' and not t.held";
  const { rows } = await db.query<{ runId: string }>({
    name: "let-suspects-go",
    text: `
      with known as materialized (
        select t.id, t.lane_id, t.state in ('queued', 'running') as is_live from sluice.task_instance t
         where t.suspect and (t.state in ('queued', 'running') or (${waits}))),
      placed as (
        select id, lane_id, is_live, count(*) filter (where is_live) over (partition by lane_id)
                                     + row_number() over (partition by lane_id, is_live order by id) as place
          from known),
      lanes as materialized (
        select l.id, ${workersOfLane("true")} as workers from sluice.lane l
         where l.id = any (array(select lane_id from known where not is_live))),
      chosen as materialized (
        select t.id from sluice.task_instance t
         where t.id = any (array(select p.id from placed p join lanes l on l.id = p.lane_id
                                  where not p.is_live and p.place <= l.workers))
           and ${waits}
         order by t.id for update skip locked),
      gone as (
        update sluice.task_instance t set waits_apart = false
         where t.id = any (array(select id from chosen)) returning t.id)
      select distinct id >> 20 as "runId" from gone`,
  });
  return rows.map(({ runId }) => runId);
}

/** What workers that have stopped could not give back themselves. Passes over what others hold. */
export function releaseStopped(db: Db): Promise<Released> {
  const when = `$1::text is null and $2::int is null and ${IS_LEFT_BY_A_STOPPED_WORKER}`;
  return release(db, { reason: "DRAINED", when, values: [null, null], allowance: NO_LIMIT, skips: true });
}

/** What earlier processes under this worker's name left running. */
export function releasePredecessors(db: Db, worker: WorkerRef, allowance: number): Promise<Released> {
  return release(db, { reason: "WORKER_RESTARTED", values: [worker.id, worker.epoch], allowance, skips: false });
}

/** What this worker hands back because it stops. */
export function releaseDrained(db: Db, worker: WorkerRef): Promise<Released> {
  return release(db, {
    reason: "DRAINED",
    values: [worker.id, worker.epoch],
    allowance: NO_LIMIT,
    skips: false,
  });
}

/** What was claimed under these tokens by calls of which the worker never got an answer. */
export function releaseUnheard(db: Db, worker: WorkerRef, tokens: readonly string[]): Promise<Released> {
  return release(db, { reason: "REPLY_LOST", values: [worker.id, tokens], allowance: NO_LIMIT, skips: false });
}

/** What the worker claimed ahead and does not begin. */
export function releaseUnbegun(db: Db, worker: WorkerRef, tokens: readonly string[]): Promise<Released> {
  return release(db, { reason: "NOT_BEGUN", values: [worker.id, tokens], allowance: NO_LIMIT, skips: false });
}

/**
 * Renews the leases of attempts that this worker is giving back, those of these tokens or all,
 * while it waits for their locks: a lease that ran out meanwhile would count as a worker lost.
 * Passes over what others hold.
 */
export async function extendLeases(
  db: Db,
  worker: WorkerRef,
  tokens: readonly string[] | null,
  leaseMs: number,
): Promise<void> {
  await db.query({
    name: "extend-leases",
    text: `
      update sluice.live_attempt a set lease_until = sluice.clock() + $4 * interval '1 ms'
       where a.task_instance_id = any (array(
               select l.task_instance_id from sluice.live_attempt l
                where l.state = 'running' and l.worker_id = $1 and l.worker_epoch = $2
                  and ($3::uuid[] is null or l.token = any ($3))
                order by 1 for update skip locked))
         and a.state = 'running' and a.worker_id = $1 and a.worker_epoch = $2`,
    values: [worker.id, worker.epoch, tokens, leaseMs],
  });
}
