import type { Tx } from "./pool.ts";

export type WorkerRef = { id: string; epoch: string };

/** All a worker needs to run an attempt, but for the parents' outputs. */
export type Claimed = {
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
  logicalDate: Date;
  triggerKind: string;
};

/**
 * A CTE `claimed` of `Claimed` rows, from `taken` (task_instance_id, attempt_id, token, number, failures, after_id).
 * The run comes before the task, materialized: only then does the planner look a task up by version and ordinal
 * together.
 */
export const CLAIMED = `
      held as materialized (
        select taken.*, (taken.task_instance_id & 1048575)::int as ord, r.id as run_id, r.version_id, r.dag_id, v.bundle,
               r.conf, r.params, r.logical_date, r.trigger_kind
          from taken
          join sluice.dag_run r on r.id = taken.task_instance_id >> 20
          join sluice.dag_version v on v.id = r.version_id),
      claimed as (
        select h.task_instance_id as "taskInstanceId", h.run_id as "runId", h.attempt_id as "attemptId", h.token,
               h.number, h.dag_id as "dagId", t.task_id as "taskId", t.spec as task, h.bundle, h.conf, h.params,
               h.failures, h.logical_date as "logicalDate", h.trigger_kind as "triggerKind", h.after_id as "afterId"
          from held h join sluice.dag_task t on t.version_id = h.version_id and t.ord = h.ord)`;

/**
 * `queued` → `running` under the given tokens and a lease of `leaseMs`, for an active worker only. An attempt
 * that is not answered was not ours to take: cancelled, taken already, or this worker is draining or replaced.
 */
export async function claimQueued(
  tx: Tx,
  worker: WorkerRef,
  attempts: readonly { id: string; token: string }[],
  leaseMs: number,
): Promise<Claimed[]> {
  const { rows } = await tx.query<Claimed>({
    name: "claim-queued",
    text: `
      with f as (select * from unnest($1::uuid[], $2::uuid[]) f(id, token)),
      lk as materialized (
        select t.id from sluice.task_instance t
         where t.id in (select a.task_instance_id from sluice.live_attempt a join f on f.id = a.id)
         order by t.id for update),
      got as (
        update sluice.live_attempt a
           set state = 'running', worker_id = $3, worker_epoch = $4, token = f.token, started_at = sluice.clock(),
               lease_until = sluice.clock() + $5 * interval '1 ms'
          from f, lk
         where a.id = f.id and a.task_instance_id = lk.id and a.state = 'queued'
           and exists (select from sluice.worker w where w.id = $3 and w.epoch = $4 and w.state = 'active')
        returning a.task_instance_id, a.id, a.number, a.token, a.started_at),
      taken as (
        update sluice.task_instance t set state = 'running', started_at = got.started_at
          from got where t.id = got.task_instance_id
        returning t.id as task_instance_id, got.id as attempt_id, got.token, got.number, t.failures, null as after_id),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        select task_instance_id >> 20, task_instance_id, number, 'queued', 'running', 'worker:' || $3 from got),
      ${CLAIMED}
      select * from claimed order by "taskInstanceId"`,
    values: [attempts.map((a) => a.id), attempts.map((a) => a.token), worker.id, worker.epoch, leaseMs],
  });
  return rows;
}

/** False when the worker drains, has stopped or was replaced by a newer process of its name. */
export async function isActive(tx: Tx, worker: WorkerRef): Promise<boolean> {
  const { rowCount } = await tx.query("select from sluice.worker where id = $1 and epoch = $2 and state = 'active'", [
    worker.id,
    worker.epoch,
  ]);
  return rowCount === 1;
}
