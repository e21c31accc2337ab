import { z } from "zod";
import type { DagRun } from "#lib/contract/dag-runs.ts";
import type { TaskInstance } from "#lib/contract/task-instances.ts";
import { RUN_ACTIONS, RUN_STATES, type RunState, TASK_STATES, TRIGGER_KINDS } from "#lib/domain/states.ts";
import type { Db } from "./pool.ts";

const isoTime = z.date().transform((time) => time.toISOString());

const RunRow = z.object({
  id: z.string(),
  dagId: z.string(),
  version: z.number().int(),
  state: z.enum(RUN_STATES),
  triggerKind: z.enum(TRIGGER_KINDS),
  scheduleId: z.string().nullable(),
  backfillId: z.string().nullable(),
  logicalDate: isoTime,
  intervalStart: isoTime,
  intervalEnd: isoTime,
  conf: z.record(z.string(), z.json()),
  note: z.string().nullable(),
  actor: z.string(),
  createdAt: isoTime,
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
  action: z
    .object({
      kind: z.enum(RUN_ACTIONS),
      actor: z.string(),
      requestedAt: z.string(),
      done: z.number().int(),
      total: z.number().int().nullable(),
    })
    .nullable(),
});

const SELECT_RUN = `
  select r.id::text, r.dag_id as "dagId", v.number as version, r.state, r.trigger_kind as "triggerKind",
         r.schedule_id::text as "scheduleId", r.backfill_id::text as "backfillId", r.logical_date as "logicalDate",
         r.interval_start as "intervalStart", r.interval_end as "intervalEnd", r.conf, r.note, r.actor, r.created_at as "createdAt",
         r.started_at as "startedAt", r.ended_at as "endedAt",
         (select jsonb_build_object('kind', a.kind, 'actor', a.actor, 'done', a.done, 'total', a.total, 'requestedAt',
                                    to_char(a.requested_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
            from sluice.run_action a where a.run_id = r.id) as action
  from sluice.dag_run r join sluice.dag_version v on v.id = r.version_id`;

/** One run. */
export async function findRun(db: Db, runId: string): Promise<DagRun | undefined> {
  const text = `${SELECT_RUN} where r.id = $1::bigint`;
  const { rows } = await db.query({ name: "find-run", text, values: [runId] });
  return RunRow.optional().parse(rows[0]);
}

export type RunFilter = {
  dagId?: string | undefined;
  state?: RunState | undefined;
  cursor?: string | undefined;
  limit: number;
};

/** Runs, newest first, before `cursor`. */
export async function listRuns(db: Db, filter: RunFilter): Promise<{ items: DagRun[]; nextCursor: string | null }> {
  const given = [
    { condition: "r.dag_id =", value: filter.dagId },
    { condition: "r.state =", value: filter.state },
    { condition: "r.id <", value: filter.cursor },
  ].filter(({ value }) => value !== undefined);
  const where = given.map(({ condition }, index) => `${condition} $${index + 2}`).join(" and ");
  const { rows } = await db.query(`${SELECT_RUN} ${where === "" ? "" : `where ${where}`} order by r.id desc limit $1`, [
    filter.limit + 1,
    ...given.map(({ value }) => value),
  ]);
  const items = z.array(RunRow).parse(rows.slice(0, filter.limit));
  return { items, nextCursor: rows.length > filter.limit ? (items.at(-1)?.id ?? null) : null };
}

const TaskRow = z.object({
  id: z.string(),
  runId: z.string(),
  taskId: z.string(),
  type: z.string(),
  queue: z.string(),
  state: z.enum(TASK_STATES),
  attempt: z.number().int(),
  lostAttempts: z.number().int(),
  workerId: z.string().nullable(),
  readyAt: isoTime.nullable(),
  notBefore: isoTime.nullable(),
  waitsFor: z.string().nullable(),
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
});

/**
 * `offset 0` keeps the reads of a task's definition and of its last attempt searches by their whole keys: for a run of
 * 20,000 tasks the planner would read all definitions again for each of them, or the attempts of all runs.
 */
/** As `selectSituations` of situation-reads.ts. */
const selectTasks = (run: string, where: string): string => `
  select t.id::text, t.run_id::text as "runId", k.task_id as "taskId", k.type, w.queue, t.state,
         greatest(t.attempts, l.number) as attempt, t.lost_attempts as "lostAttempts",
         coalesce(l.worker_id, a.worker_id) as "workerId", coalesce(t.ready_at, t.started_at) as "readyAt", t.not_before as "notBefore",
         case t.state when 'deferred' then d.reason end as "waitsFor", t.started_at as "startedAt", t.ended_at as "endedAt"
  from sluice.dag_run r
  cross join lateral (select t.* from sluice.task_instance t where ${where} offset 0) t
  cross join lateral (select k.task_id, k.type from sluice.dag_task k
                       where k.version_id = r.version_id and k.ord = (t.id & 1048575)::int offset 0) k
  join sluice.workload w on w.id = t.workload_id
  left join lateral (select l.number, l.worker_id from sluice.live_attempt l where l.task_instance_id = t.id offset 0) l on true
  left join lateral (select d.reason from sluice.deferral d where d.task_instance_id = t.id offset 0) d on true
  left join lateral (select a.worker_id from sluice.attempt a
                      where a.task_instance_id = t.id and a.number = t.attempts offset 0) a on true
  where r.id = ${run}`;

/** All task instances of a run, in definition order. */
export async function listRunTasks(db: Db, runId: string): Promise<TaskInstance[]> {
  // By range of ids, which is the primary key: there is no index on the run.
  const text = `${selectTasks("$1::bigint", "t.id >= r.id << 20 and t.id < (r.id + 1) << 20")} order by t.id`;
  const { rows } = await db.query({ name: "list-run-tasks", text, values: [runId] });
  return z.array(TaskRow).parse(rows);
}

/** One task instance. */
export async function findTaskInstance(db: Db, taskInstanceId: string): Promise<TaskInstance | undefined> {
  const text = selectTasks("$1::bigint >> 20", "t.run_id = r.id and t.id = $1::bigint");
  const { rows } = await db.query({ name: "find-task-instance", text, values: [taskInstanceId] });
  return TaskRow.optional().parse(rows[0]);
}
