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
};

export type Finished = {
  /** Task instances whose end was accepted; the rest were fenced. */
  accepted: string[];
  /** Runs in which a task ended in a way that others' rules must be asked about. */
  unsettledRuns: string[];
  /** DAGs of which a run has ended while others are queued. */
  dagsWithRoom: string[];
};

/**
 * `running` → its end, for every attempt whose token is still the live one; children of successes are counted
 * down and made `ready`, and a run with nothing open is closed. One statement, one commit, whatever the batch.
 *
 * Lock order: runs (FOR KEY SHARE: against user actions, which take FOR UPDATE, but not against another
 * finisher's closing update) → task instances by id, finishers and children together → progress by run id.
 */
export async function finishRunning(db: Db, batch: readonly Finish[], actor: string): Promise<Finished> {
  const { rows } = await db.query<{
    id: string;
    runId: string | null;
    unsettled: boolean | null;
    dagWithRoom: string | null;
  }>({
    name: "finish-running",
    text: `
      with f as materialized (
        select f.*, case when f.retry_ms > 0 then 'retrying' when f.retry_ms = 0 then 'ready' else f.state end as becomes
          from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::jsonb[], $9::bigint[])
                      f(id, token, state, reason, exit_code, error, output, retry_ms)),
      run as materialized (
        select r.id, r.version_id, r.dag_id from sluice.dag_run r
         where r.id in (select id >> 20 from f) order by r.id for key share),
      lk as materialized (
        select t.id, t.state from sluice.task_instance t
         where t.id in (
           select id from f
           union
           select r.id << 20 | e.to_ord from f join run r on r.id = f.id >> 20
             join sluice.dag_edge e on e.version_id = r.version_id and e.from_ord = f.id & 1048575
            where f.state = 'success')
         order by t.id for update),
      done as (
        delete from sluice.live_attempt a using f, lk
         where a.task_instance_id = f.id and lk.id = f.id and a.token = f.token and a.state = 'running'
        returning a.*, f.state as end_state, f.becomes, f.retry_ms, f.reason, f.exit_code, f.error, f.output),
      delta as (
        select r.id << 20 | e.to_ord as id, count(*)::int as n
          from done d join run r on r.id = d.task_instance_id >> 20
          join sluice.dag_edge e on e.version_id = r.version_id and e.from_ord = d.task_instance_id & 1048575
          -- Only what waits is counted down: a child that has started may see its parent succeed once more.
          join lk c on c.id = r.id << 20 | e.to_ord and c.state = 'waiting'
         where d.end_state = 'success' group by 1),
      moved as (
        update sluice.task_instance t
           set state = case when x.becomes is not null then x.becomes
                            when t.state = 'waiting' and t.open_parents = x.n then 'ready' else t.state end,
               open_parents = t.open_parents - x.n,
               ended_at = case when x.becomes in ('success', 'failed', 'skipped') then sluice.clock() else t.ended_at end,
               ready_at = case when x.becomes = 'ready' or t.state = 'waiting' and t.open_parents = x.n
                               then sluice.clock() else t.ready_at end,
               failures = t.failures + case when x.end_state = 'failed' then 1 else 0 end,
               retry_at = case when x.becomes = 'retrying' then sluice.clock() + x.retry_ms * interval '1 ms' end
          from (select coalesce(d.task_instance_id, c.id) as id, d.end_state, d.becomes, d.retry_ms, coalesce(c.n, 0) as n
                  from done d full join delta c on c.id = d.task_instance_id) x
         where t.id = x.id
        returning t.id, t.run_id, t.state, x.becomes),
      history as (
        insert into sluice.attempt
          (task_instance_id, number, id, state, reason, exit_code, error, worker_id, queued_at, started_at)
        select task_instance_id, number, id, end_state, reason, exit_code, error, worker_id, queued_at, started_at
          from done),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
        select task_instance_id >> 20, task_instance_id, number, 'running', becomes, reason, $8 from done
        union all
        select run_id, id, null, 'waiting', 'ready', null, $8 from moved where state = 'ready' and becomes is null),
      x as (
        insert into sluice.xcom (task_instance_id, key, value)
        select task_instance_id, 'return_value', output from done where output is not null
        on conflict (task_instance_id, key) do update set value = excluded.value, created_at = sluice.clock()),
      tally as (
        select d.task_instance_id >> 20 as run_id, count(*)::int as n,
               count(*) filter (where d.end_state = 'failed' and t.is_leaf)::int as failed_leaves,
               bool_or(t.wakes_settling or d.end_state <> 'success' and not t.is_leaf) as unsettled
          from done d join run r on r.id = d.task_instance_id >> 20
          join sluice.dag_task t on t.version_id = r.version_id and t.ord = d.task_instance_id & 1048575
         where d.becomes = d.end_state group by 1),
      dead as (
        insert into sluice.dead_letter (task_instance_id, dag_id, task_id, attempt, reason, error)
        select d.task_instance_id, r.dag_id, t.task_id, d.number, d.reason, d.error
          from done d join run r on r.id = d.task_instance_id >> 20
          join sluice.dag_task t on t.version_id = r.version_id and t.ord = d.task_instance_id & 1048575
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
          from tally t, plk where p.run_id = t.run_id and plk.run_id = p.run_id
        returning p.run_id, p.open, p.failed_leaves, p.unsettled),
      closed as (
        update sluice.dag_run r
           set state = case when p.failed_leaves > 0 then 'failed' else 'success' end, ended_at = sluice.clock()
          from progress p where r.id = p.run_id and p.open = 0 and r.state = 'running'
        returning r.id, r.state, r.dag_id),
      ce as (
        insert into sluice.event (run_id, from_state, to_state, actor)
        select id, 'running', state, $8 from closed)
      select d.task_instance_id as id, p.run_id as "runId", p.unsettled, c.dag_id as "dagWithRoom"
        from done d
        left join progress p on p.run_id = d.task_instance_id >> 20
        left join closed c on c.id = p.run_id
              and exists (select from sluice.dag_run q where q.dag_id = c.dag_id and q.state = 'queued')`,
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
    ],
  });
  return {
    accepted: rows.map((row) => row.id),
    unsettledRuns: [...new Set(rows.flatMap((row) => (row.unsettled === true ? [row.runId!] : [])))],
    dagsWithRoom: [...new Set(rows.flatMap((row) => (row.dagWithRoom === null ? [] : [row.dagWithRoom])))],
  };
}
