import { runIdOf } from "#lib/domain/ids.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import type { Tx } from "./pool.ts";

export type WorkerRef = { id: string; epoch: string };

/** What is handed over to a worker: which attempt of which task instance. */
export type Delivery = { taskInstanceId: string; attemptId: string };

/** All a worker needs to run an attempt, but for the parents' outputs. */
export type Claimed = RunTimes & {
  taskInstanceId: string;
  runId: string;
  attemptId: string;
  token: string;
  number: number;
  dagId: string;
  taskId: string;
  /** The task as its version has it, in the compact form. */
  task: unknown;
  bundle: string | null;
  conf: Record<string, unknown>;
  /** What the task sees of conf. */
  params: Record<string, unknown>;
  /** Failed attempts before this one. */
  failures: number;
  triggerKind: string;
  /** What earlier looks of this attempt have left; null at its first. */
  look: Look | null;
};

export type Look = {
  /** Since its first look began. */
  waitedMs: number;
  /** Its log goes on with this `seq`, and so many bytes are there. */
  logSeq: number;
  logBytes: number;
};

/**
 * `queued` → `running` under the given tokens and a lease of `leaseMs`, for an active worker only. An attempt
 * that is not answered was not ours to take: cancelled, taken already, or this worker is draining or replaced.
 */
export async function claimQueued(
  tx: Tx,
  worker: WorkerRef,
  attempts: readonly (Delivery & { token: string })[],
  leaseMs: number,
): Promise<Claimed[]> {
  const { rows } = await tx.query<Omit<Claimed, "look"> & { isLook: boolean }>({
    name: "claim-queued",
    text: `
      with f as (select * from unnest($1::bigint[], $2::uuid[], $6::uuid[]) f(id, attempt_id, token)),
      lk as materialized (
        select t.id from sluice.task_instance t where t.id = any ($1::bigint[]) order by t.id for update),
      got as (
        update sluice.live_attempt a
           set state = 'running', worker_id = $3, worker_epoch = $4, token = f.token, started_at = sluice.clock(),
               lease_until = sluice.clock() + $5 * interval '1 ms'
          from f, lk
         where a.task_instance_id = f.id and a.id = f.attempt_id and lk.id = f.id and a.state = 'queued'
           and exists (select from sluice.worker w where w.id = $3 and w.epoch = $4 and w.state = 'active')
        returning a.task_instance_id, a.id, a.number, a.token, a.started_at),
      taken as (
        update sluice.task_instance t
           set state = 'running',
               started_at = case when t.deferred_id is null then got.started_at else t.started_at end
          from got where t.id = got.task_instance_id
        returning t.id, got.id as attempt_id, got.token, got.number, t.failures, t.deferred_id is not null as is_look),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        select id >> 20, id, number, 'queued', 'running', 'worker:' || $3 from taken where not is_look),
      -- The run first, materialized: only then does the planner look a task up by version and ordinal together.
      held as materialized (
        select taken.*, (taken.id & 1048575)::int as ord, r.id as run_id, r.version_id, r.dag_id, v.bundle, r.conf, r.params,
               r.logical_date, r.interval_start, r.interval_end, r.trigger_kind
          from taken
          -- By a list and what is no key: while rows are waited for, Postgres must not look for partitions row by row.
          join sluice.dag_run r on r.id = any ($7::bigint[]) and r.id + 0 = taken.id >> 20
          join sluice.dag_version v on v.id = r.version_id)
      select h.id as "taskInstanceId", h.run_id as "runId", h.attempt_id as "attemptId", h.token, h.number,
             h.dag_id as "dagId", t.task_id as "taskId", t.spec as task, h.bundle, h.conf, h.params, h.failures,
             h.logical_date as "logicalDate", h.interval_start as "intervalStart", h.interval_end as "intervalEnd",
             h.trigger_kind as "triggerKind", h.is_look as "isLook"
        from held h join sluice.dag_task t on t.version_id = h.version_id and t.ord = h.ord
       order by h.id`,
    values: [
      attempts.map((a) => a.taskInstanceId),
      attempts.map((a) => a.attemptId),
      worker.id,
      worker.epoch,
      leaseMs,
      attempts.map((a) => a.token),
      [...new Set(attempts.map((a) => runIdOf(a.taskInstanceId)))],
    ],
  });
  const again = rows.filter(({ isLook }) => isLook).map(({ taskInstanceId }) => taskInstanceId);
  const looks = again.length === 0 ? undefined : await readLooks(tx, again);
  return rows.map(({ isLook: _, ...claimed }) => ({ ...claimed, look: looks?.get(claimed.taskInstanceId) ?? null }));
}

/** A query of its own, so that claims of first looks need not open the logs. */
async function readLooks(tx: Tx, taskInstanceIds: readonly string[]): Promise<Map<string, Look>> {
  const { rows } = await tx.query<Look & { id: string }>({
    name: "read-looks",
    text: `
      select d.task_instance_id as id, (extract(epoch from sluice.clock() - d.started_at) * 1000)::float8 as "waitedMs",
             coalesce((select max(l.seq) + 1 from sluice.task_log l
                        where l.task_instance_id = d.task_instance_id and l.attempt = d.number), 0) as "logSeq",
             d.log_bytes::float8 as "logBytes"
        from sluice.deferral d where d.task_instance_id = any ($1::bigint[])`,
    values: [taskInstanceIds],
  });
  return new Map(rows.map(({ id, ...look }) => [id, look]));
}

/** False when the worker drains, has stopped or was replaced by a newer process of its name. */
export async function isActive(tx: Tx, worker: WorkerRef): Promise<boolean> {
  const { rowCount } = await tx.query("select from sluice.worker where id = $1 and epoch = $2 and state = 'active'", [
    worker.id,
    worker.epoch,
  ]);
  return rowCount === 1;
}
