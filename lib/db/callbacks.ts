import type { CallbackEvent } from "#lib/domain/model/callbacks.ts";
import type { RunTimes } from "#lib/domain/run-times.ts";
import type { Db, Tx } from "./pool.ts";

/** An end that somebody is to be told of; without a task instance it is the run's own. */
export type EndedEvent = {
  id: string;
  runId: string;
  taskInstanceId: string | null;
  attempt: number | null;
  event: CallbackEvent;
};

/** One of the calls to make at an end, by its place in the list. */
export type Call = EndedEvent & { index: number };

/** Takes these ends out of the list, as the calls to make. Several at once get different ones. */
export async function takeCallbacks(tx: Tx, ids: readonly string[]): Promise<Call[]> {
  const { rows } = await tx.query<Call>({
    name: "take-callbacks",
    text: `
      with gone as (
        delete from sluice.callback
         where id in (select id from sluice.callback where id = any ($1::bigint[]) order by id for update skip locked)
        returning *)
      select g.id::text, g.run_id::text as "runId", g.task_instance_id::text as "taskInstanceId", g.attempt, g.event,
             i.index
        from gone g
        cross join lateral (select r.version_id from sluice.dag_run r where r.id = g.run_id offset 0) r
        cross join lateral (select v.spec from sluice.dag_version v where v.id = r.version_id offset 0) v
        -- offset 0 keeps this a search by the whole key, whatever the planner believes of the number of tasks.
        left join lateral (select t.spec from sluice.dag_task t
                            where t.version_id = r.version_id and t.ord = (g.task_instance_id & 1048575)::int offset 0) t on true
        cross join lateral generate_series(0, jsonb_array_length(
          (case when g.task_instance_id is null then v.spec else t.spec end)
            -> 'callbacks' -> (case g.event when 'success' then 'onSuccess' when 'failed' then 'onFailure' else 'onRetry' end)
        ) - 1) i(index)
       order by g.id, i.index`,
    values: [ids],
  });
  return rows;
}

/** Returns up to `max` ends behind `after` that wait to be told, the oldest first; without those in quarantine. */
export async function waitingCallbacks(db: Db, after: string, max: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "waiting-callbacks",
    text: `select c.id::text from sluice.callback c
            where c.id > $1::bigint
              and not exists (select from sluice.quarantine q where q.duty = 'callbacks' and q.key = c.id::text
                                 and q.retry_at > (select sluice.clock()))
            order by c.id limit $2`,
    values: [after, max],
  });
  return rows.map((row) => row.id);
}

/** What is told of an end, and the callbacks of what ended, as the version has them. */
export type CallbackFacts = RunTimes & {
  dagId: string;
  triggerKind: string;
  params: Record<string, unknown>;
  callbacks: unknown;
  taskId: string | null;
  /** Why the attempt ended so, when it was an attempt. */
  reason: string | null;
  error: string | null;
};

/** Undefined when the run is gone. */
export async function readCallback(db: Db, ended: Call): Promise<CallbackFacts | undefined> {
  const { rows } = await db.query<CallbackFacts>({
    name: "read-callback",
    text: `
      select r.dag_id as "dagId", r.trigger_kind as "triggerKind", r.logical_date as "logicalDate",
             r.interval_start as "intervalStart", r.interval_end as "intervalEnd", r.params,
             t.task_id as "taskId", a.reason, a.error,
             coalesce(case when $2::bigint is null then v.spec -> 'callbacks' else t.spec -> 'callbacks' end, '{}') as callbacks
        from sluice.dag_run r
        join sluice.dag_version v on v.id = r.version_id
        left join sluice.dag_task t on t.version_id = r.version_id and t.ord = ($2::bigint & 1048575)::int
        left join sluice.attempt a on a.task_instance_id = $2::bigint and a.number = $3::int
       where r.id = $1::bigint`,
    values: [ended.runId, ended.taskInstanceId, ended.attempt],
  });
  return rows[0];
}

/** Says in the run's history that a callback was given up; the run itself stays as it is. */
export async function insertFailedCallback(db: Db, ended: Call, error: string): Promise<void> {
  await db.query(
    `insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
     select r.id, t.id, $3::int, coalesce(t.state, r.state), coalesce(t.state, r.state), 'CALLBACK_FAILED: ' || $4, 'callbacks'
       from sluice.dag_run r left join sluice.task_instance t on t.id = $2::bigint where r.id = $1::bigint`,
    [ended.runId, ended.taskInstanceId, ended.attempt, error],
  );
}
