import { type Claimed, CLAIMED } from "./claims.ts";
import { CONTINUATION } from "./continuation.ts";
import type { Db } from "./pool.ts";

/**
 * How an attempt ended, as its worker saw it. `output` is JSON text or undefined. With `retryInMs`, which only a
 * failed attempt has, the task is not over: another attempt may start after that time.
 */
export type Finish = {
  taskInstanceId: string;
  token: string;
  state: "success" | "failed" | "skipped";
  reason: string;
  exitCode?: number | undefined;
  error?: string | undefined;
  output?: string | undefined;
  retryInMs?: number | undefined;
  /** With it the worker takes a child that this end unlocks, where admission would give it that very slot. */
  next?: { attemptId: string; token: string } | undefined;
};

export type Finished = {
  /** Task instances whose end was accepted; the rest were fenced. */
  accepted: string[];
  /** What the worker goes on with, by the task instance whose slot it has. */
  continued: Map<string, Claimed>;
  /** A slot fell free or a task became ready: admission has something to look at. */
  callsForAdmission: boolean;
  /** Somebody is to be told of an end. */
  hasCallbacks: boolean;
  /** Runs in which a task ended in a way that others' rules must be asked about. */
  unsettledRuns: string[];
  /** DAGs of which a run has ended while others are queued. */
  dagsWithRoom: string[];
};

/**
 * `running` → its end, for every attempt whose token is still the live one; children of successes are counted
 * down and made `ready`, or go on in the slot that fell free (see CONTINUATION), and a run with nothing open is
 * closed. One statement, one commit, whatever the batch.
 *
 * Lock order: runs (FOR KEY SHARE: against user actions, which take FOR UPDATE, but not against another
 * finisher's closing update) → task instances by id, finishers and children together → progress by run id.
 */
export async function finishRunning(
  db: Db,
  batch: readonly Finish[],
  actor: string,
  leaseMs: number,
): Promise<Finished> {
  const { rows } = await db.query<FinishedRow>({
    name: "finish-running",
    text: `
      with recursive given as materialized (
        select f.*, case when f.retry_ms > 0 then 'retrying' when f.retry_ms = 0 then 'ready' else f.state end as becomes
          from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::jsonb[], $9::bigint[],
                      $10::uuid[], $11::uuid[])
                      f(id, token, state, reason, exit_code, error, output, retry_ms, next_id, next_token)),
      run as materialized (
        select r.id, r.version_id, r.dag_id, v.task_calls
          from sluice.dag_run r join sluice.dag_version v on v.id = r.version_id
         where r.id in (select id >> 20 from given) order by r.id for key share of r),
      f as materialized (
        select g.*, r.version_id, r.dag_id, r.task_calls, (g.id & 1048575)::int as ord from given g join run r on r.id = g.id >> 20),
      -- By child, which of the batch it waits for. No join of two large sets: the planner takes these for small ones.
      edge as (
        select (f.id >> 20) << 20 | c.ord as id, array_agg(f.id) as parents
          from f join sluice.dag_task t on t.version_id = f.version_id and t.ord = f.ord
          cross join lateral unnest(t.children) c(ord)
         where f.state = 'success' group by 1),
      lk as materialized (
        select t.id, t.state, t.open_parents, t.held, t.workload_id, w.parents
          from (select coalesce(f.id, e.id) as id, e.parents from f full join edge e on e.id = f.id) w
          join sluice.task_instance t on t.id = w.id
         order by t.id for update of t),
      done as (
        delete from sluice.live_attempt a using f
         where a.task_instance_id = f.id and a.token = f.token and a.state = 'running' and (select count(*) from lk) > 0
        returning a.*, f.state as end_state, f.becomes, f.retry_ms, f.reason, f.exit_code, f.error, f.output, f.next_id,
                  f.next_token, f.version_id, f.dag_id, f.task_calls, f.ord),
      accepted as materialized (
        select count(*) = (select count(*) from f) as all, array_agg(task_instance_id) as ids from done),
      -- Only what waits is counted down: a child that has started may see its parent succeed once more.
      delta as materialized (
        select lk.id, lk.workload_id, lk.held, lk.open_parents,
               case when x.all then cardinality(lk.parents)
                    else (select count(*)::int from unnest(lk.parents) p where p = any (x.ids)) end as n
          from lk, accepted x where lk.parents is not null and lk.state = 'waiting'),
      ${CONTINUATION}
      moved as (
        update sluice.task_instance t
           set state = case when x.becomes is not null then x.becomes when x.next_id is not null then 'running'
                            when t.state = 'waiting' and t.open_parents = x.n then 'ready' else t.state end,
               open_parents = t.open_parents - x.n,
               attempts = t.attempts + case when x.next_id is null then 0 else 1 end,
               started_at = case when x.next_id is null then t.started_at else sluice.clock() end,
               ended_at = case when x.becomes in ('success', 'failed', 'skipped') then sluice.clock() else t.ended_at end,
               ready_at = case when x.becomes = 'ready' or t.state = 'waiting' and t.open_parents = x.n
                               then sluice.clock() else t.ready_at end,
               failures = t.failures + case when x.end_state = 'failed' then 1 else 0 end,
               retry_at = case when x.becomes = 'retrying' then sluice.clock() + x.retry_ms * interval '1 ms' end
          from (select coalesce(d.task_instance_id, c.id) as id, d.end_state, d.becomes, d.retry_ms, coalesce(c.n, 0) as n,
                       n.next_id, n.after_id, n.next_token, n.worker_id, n.worker_epoch
                  from done d full join delta c on c.id = d.task_instance_id full join next n on n.id = c.id) x
         where t.id = x.id
        returning t.id, t.run_id, t.state, t.attempts, t.failures, t.started_at, t.workload_id, x.becomes, x.after_id,
                  x.next_id, x.next_token, x.worker_id, x.worker_epoch),
      got as (
        insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, queued_at, worker_id,
                                         worker_epoch, token, started_at, lease_until)
        select m.id, m.attempts, m.next_id, 'running', m.workload_id, m.started_at, m.worker_id, m.worker_epoch,
               m.next_token, m.started_at, sluice.clock() + $12 * interval '1 ms'
          from moved m where m.next_id is not null),
      history as (
        insert into sluice.attempt
          (task_instance_id, number, id, state, reason, exit_code, error, worker_id, queued_at, started_at)
        select task_instance_id, number, id, end_state, reason, exit_code, error, worker_id, queued_at, started_at
          from done),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
        select task_instance_id >> 20, task_instance_id, number, 'running', becomes, reason, $8 from done
        union all
        select run_id, id, case when next_id is null then null else attempts end, 'waiting', state,
               case when next_id is null then null else 'CONTINUED' end, $8
          from moved where becomes is null and state in ('ready', 'running') and (next_id is not null or state = 'ready')),
      x as (
        insert into sluice.xcom (task_instance_id, key, value)
        select task_instance_id, 'return_value', output from done where output is not null
        on conflict (task_instance_id, key) do update set value = excluded.value, created_at = sluice.clock()),
      tally as (
        select d.task_instance_id >> 20 as run_id, count(*)::int as n,
               count(*) filter (where d.end_state = 'failed' and t.is_leaf)::int as failed_leaves,
               bool_or(t.wakes_settling or d.end_state <> 'success' and not t.is_leaf) as unsettled
          from done d join sluice.dag_task t on t.version_id = d.version_id and t.ord = d.ord
         where d.becomes = d.end_state group by 1),
      dead as (
        insert into sluice.dead_letter (task_instance_id, dag_id, task_id, attempt, reason, error)
        select d.task_instance_id, d.dag_id, t.task_id, d.number, d.reason, d.error
          from done d join sluice.dag_task t on t.version_id = d.version_id and t.ord = d.ord
         where d.becomes = 'failed'
        on conflict (task_instance_id) do update set attempt = excluded.attempt, reason = excluded.reason,
          error = excluded.error, failed_at = sluice.clock(), dismissed_at = null, dismissed_by = null),
      plk as materialized (
        select p.run_id from sluice.run_progress p
         where p.run_id in (select run_id from tally) and (select count(*) from moved) >= 0
         order by p.run_id for update),
      progress as (
        update sluice.run_progress p
           set open = p.open - t.n, failed_leaves = p.failed_leaves + t.failed_leaves,
               -- With nothing open there is nothing left to settle.
               unsettled = (p.unsettled or p.settles_each or t.unsettled) and p.open > t.n
          from tally t where p.run_id = t.run_id and (select count(*) from plk) > 0
        returning p.run_id, p.open, p.failed_leaves, p.unsettled),
      closed as (
        update sluice.dag_run r
           set state = case when p.failed_leaves > 0 then 'failed' else 'success' end, ended_at = sluice.clock()
          from progress p where r.id = p.run_id and p.open = 0 and r.state = 'running'
        returning r.id, r.state, r.dag_id, r.version_id),
      ce as (
        insert into sluice.event (run_id, from_state, to_state, actor)
        select id, 'running', state, $8 from closed),
      call as (
        insert into sluice.callback (run_id, task_instance_id, attempt, event)
        select x.run_id, x.task_instance_id, x.number, x.event
          from (select d.task_instance_id >> 20 as run_id, d.task_instance_id, d.number, t.calls,
                       case when d.becomes in ('retrying', 'ready') then 'retry' else d.becomes end as event
                  from done d join sluice.dag_task t on t.version_id = d.version_id and t.ord = d.ord
                 where d.task_calls
                union all
                select c.id, null, null, v.calls, c.state
                  from closed c join sluice.dag_version v on v.id = c.version_id) x
         where x.event = any (x.calls)
        returning 1),
      taken as (
        select id as task_instance_id, next_id as attempt_id, next_token as token, attempts as number, failures, after_id
          from moved where next_id is not null),
      ${CLAIMED},
      -- One row that sums up, and one for each child that goes on. Never a join of the CTEs above with each other:
      -- planned for a row each, it was cubic in the batch.
      summary as (
        select array(select task_instance_id::text from done) as accepted,
               array(select run_id::text from progress where unsettled) as "unsettledRuns",
               array(select distinct c.dag_id from closed c
                      where exists (select from sluice.dag_run q where q.dag_id = c.dag_id and q.state = 'queued'))
                 as "dagsWithRoom",
               (select count(*) from done) > (select count(*) from next)
                 or exists (select from moved where state = 'ready') as "callsForAdmission",
               exists (select from call) as "hasCallbacks")
      select s.*, c.* from (select 0 as kind, * from summary) s full join (select 1 as kind, * from claimed) c using (kind)`,
    values: [
      batch.map((f) => f.taskInstanceId),
      batch.map((f) => f.token),
      batch.map((f) => f.state),
      batch.map((f) => f.reason),
      batch.map((f) => f.exitCode ?? null),
      batch.map((f) => f.error ?? null),
      batch.map((f) => f.output ?? null),
      actor,
      batch.map((f) => f.retryInMs ?? null),
      batch.map((f) => f.next?.attemptId ?? null),
      batch.map((f) => f.next?.token ?? null),
      leaseMs,
    ],
  });
  const summary = rows.find((row) => row.accepted !== null)!;
  return {
    accepted: summary.accepted!,
    continued: new Map(rows.flatMap((row) => (row.afterId === null ? [] : [[row.afterId, row] as const]))),
    callsForAdmission: summary.callsForAdmission,
    hasCallbacks: summary.hasCallbacks,
    unsettledRuns: summary.unsettledRuns,
    dagsWithRoom: summary.dagsWithRoom,
  };
}

/** Either the one that sums up, or a child that goes on after `afterId`. */
type FinishedRow = Claimed & {
  accepted: string[] | null;
  unsettledRuns: string[];
  dagsWithRoom: string[];
  callsForAdmission: boolean;
  hasCallbacks: boolean;
  afterId: string | null;
};
