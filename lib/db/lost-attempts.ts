import type { Db } from "./pool.ts";
import type { Delivery, WorkerRef } from "./claims.ts";

export type LostReason = "LEASE_EXPIRED" | "WORKER_RESTARTED" | "DRAINED" | "REPLY_LOST" | "NOT_BEGUN";

/** Larger than any count of lost attempts (Postgres int). */
const NO_LIMIT = 2 ** 31 - 1;

/** Which running attempts have lost their worker. The condition is part of every write that acts on it. */
const LOST_WHEN = {
  // Right after Postgres came back every lease looks expired, so none counts until workers had time to renew.
  LEASE_EXPIRED: `a.lease_until < (select sluice.clock())
    and clock_timestamp() - pg_postmaster_start_time() > $2 * interval '1 ms' and $1::text is null`,
  WORKER_RESTARTED: "a.worker_id = $1 and a.worker_epoch < $2",
  DRAINED: "a.worker_id = $1 and a.worker_epoch = $2",
  // The worker never heard that they are its own.
  REPLY_LOST: "a.worker_id = $1 and a.token = any ($2::uuid[])",
  // Claimed ahead of a slot that did not fall free in time.
  NOT_BEGUN: "a.worker_id = $1 and a.token = any ($2::uuid[])",
} as const satisfies Record<LostReason, string>;

const ONLY_THESE = "($5::bigint[] is null or a.task_instance_id = any ($5))";

const AT_ONCE = 200;

export type Released = {
  /** Runs whose tasks are `ready` again. */
  runs: string[];
  /** Those tasks. */
  taskInstanceIds: string[];
  /** Attempts left as they are, because their task has lost its worker too often: the caller ends them. */
  exhausted: { taskInstanceId: string; token: string }[];
};

/**
 * Ends running attempts without a worker, all or those of `only` some tasks, as `lost` and makes their tasks `ready` again, at most 200 a call. One that has
 * said "not yet" before goes on with another look: only this look is lost.
 * A drained attempt does not count against
 * `allowance`, nor does one that its worker never began. Several callers at once are safe (SKIP LOCKED).
 */
async function release(
  db: Db,
  reason: LostReason,
  values: [string | null, unknown],
  allowance: number,
  only: readonly string[] | null = null,
): Promise<Released> {
  const { rows } = await db.query<{ id: string; runId: string; token: string | null }>({
    name: `release-${reason}`,
    text: `
      with run as materialized (
        select r.id from sluice.dag_run r
         where r.id = any (array(select a.task_instance_id >> 20 from sluice.live_attempt a
                                  where a.state = 'running' and ${LOST_WHEN[reason]} and ${ONLY_THESE}))
         order by r.id for key share),
      lk as materialized (
        select t.id, t.lost_attempts, t.deferred_id from sluice.task_instance t
         where t.id = any (array(select a.task_instance_id from sluice.live_attempt a
                                  where a.state = 'running' and ${LOST_WHEN[reason]} and ${ONLY_THESE} order by 1 limit ${AT_ONCE}))
           and (select count(*) from run) >= 0
         order by t.id for update skip locked),
      gone as (
        delete from sluice.live_attempt a using lk
         where a.task_instance_id = lk.id and a.state = 'running' and ${LOST_WHEN[reason]}
           and lk.lost_attempts < $3
        returning a.*, lk.deferred_id),
      moved as (
        update sluice.task_instance t
           set state = 'ready', ready_at = sluice.clock(),
               started_at = case when t.deferred_id is null then null else t.started_at end,
               lost_attempts = t.lost_attempts + case when $4 in ('DRAINED', 'REPLY_LOST', 'NOT_BEGUN') then 0 else 1 end
          from gone where t.id = gone.task_instance_id
        returning t.id),
      history as (
        insert into sluice.attempt (task_instance_id, number, id, state, reason, worker_id, queued_at, started_at)
        select task_instance_id, number, id, 'lost', $4, worker_id, queued_at, started_at from gone where deferred_id is null),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
        select task_instance_id >> 20, task_instance_id, number, 'running', 'ready', $4, 'sweep' from gone)
      select id, id >> 20 as "runId", null as token from moved
      union all
      select a.task_instance_id, a.task_instance_id >> 20, a.token from sluice.live_attempt a join lk on lk.id = a.task_instance_id
       where a.state = 'running' and ${LOST_WHEN[reason]} and lk.lost_attempts >= $3`,
    values: [...values, allowance, reason, only],
  });
  const ready = rows.filter((row) => row.token === null);
  return {
    runs: [...new Set(ready.map((row) => row.runId))],
    taskInstanceIds: ready.map((row) => row.id),
    exhausted: rows.flatMap((row) => (row.token === null ? [] : [{ taskInstanceId: row.id, token: row.token }])),
  };
}

/** The tasks of attempts whose lease has run out, at most 200; none while Postgres itself is younger than a lease. */
export async function expiredAttempts(db: Db, leaseMs: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "expired-attempts",
    text: `select a.task_instance_id as id from sluice.live_attempt a
            where a.state = 'running' and ${LOST_WHEN.LEASE_EXPIRED}
              and not exists (select from sluice.quarantine q where q.duty = 'sweep' and q.key = a.task_instance_id::text
                                 and q.retry_at > (select sluice.clock()))
            order by 1 limit ${AT_ONCE}`,
    values: [null, leaseMs],
  });
  return rows.map((row) => row.id);
}

/** What had a lease that has run out, of all or of these tasks; none while Postgres itself is younger than a lease of `leaseMs`. */
export function releaseExpired(
  db: Db,
  leaseMs: number,
  allowance: number,
  taskInstanceIds?: readonly string[],
): Promise<Released> {
  return release(db, "LEASE_EXPIRED", [null, leaseMs], allowance, taskInstanceIds);
}

/** What earlier processes under this worker's name left running. */
export function releasePredecessors(db: Db, worker: WorkerRef, allowance: number): Promise<Released> {
  return release(db, "WORKER_RESTARTED", [worker.id, worker.epoch], allowance);
}

/** What this worker hands back because it stops. */
export function releaseDrained(db: Db, worker: WorkerRef): Promise<Released> {
  return release(db, "DRAINED", [worker.id, worker.epoch], NO_LIMIT);
}

/** What was claimed under these tokens by calls of which the worker never got an answer. */
export function releaseUnheard(db: Db, worker: WorkerRef, tokens: readonly string[]): Promise<Released> {
  return release(db, "REPLY_LOST", [worker.id, tokens], NO_LIMIT);
}

/** What the worker claimed ahead and does not begin. */
export function releaseUnbegun(db: Db, worker: WorkerRef, tokens: readonly string[]): Promise<Released> {
  return release(db, "NOT_BEGUN", [worker.id, tokens], NO_LIMIT);
}

/**
 * Attempts that were handed over longer than `olderThanMs` ago and never claimed: their delivery may be lost. What
 * one certain worker must take is not delivered: it looks for it at every heartbeat.
 */
export async function staleQueued(db: Db, olderThanMs: number): Promise<(Delivery & { lane: string })[]> {
  const { rows } = await db.query<Delivery & { lane: string }>(
    `select a.task_instance_id as "taskInstanceId", a.id as "attemptId", w.queue || '.' || w.slot_class as lane
       from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
      where a.state = 'queued' and a.assigned_to is null and queued_at < (select sluice.clock()) - $1 * interval '1 ms'
      order by a.task_instance_id limit 1000`,
    [olderThanMs],
  );
  return rows;
}
