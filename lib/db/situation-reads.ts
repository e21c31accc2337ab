import { z } from "zod";
import { RUN_ACTIONS, TASK_STATES } from "#lib/domain/states.ts";
import type { WaitReason } from "#lib/domain/wait-reason.ts";
import type { QueuedRun, TaskSituation } from "#lib/domain/why.ts";
import type { Db } from "./pool.ts";

const isoTime = z
  .date()
  .transform((time) => time.toISOString())
  .nullable();

const Row = z.object({
  taskId: z.string(),
  state: z.enum(TASK_STATES),
  attempt: z.number(),
  parents: z.array(z.object({ taskId: z.string(), state: z.enum(TASK_STATES) })),
  dagPausedBy: z.string().nullable(),
  runPausedBy: z.string().nullable(),
  backfillPausedBy: z.string().nullable(),
  runAction: z.enum(RUN_ACTIONS).nullable(),
  isApart: z.boolean(),
  lostAttempts: z.number(),
  isRunQueued: z.boolean(),
  wait: z
    .looseObject({ code: z.string(), since: z.string() })
    .transform((wait) => wait as unknown as WaitReason & { since: string })
    .nullable(),
  readyAt: isoTime,
  startedAt: isoTime,
  endedAt: isoTime,
  notBefore: isoTime,
  deferrals: z.number(),
  workerId: z.string().nullable(),
  reason: z.string().nullable(),
  error: z.string().nullable(),
});

/** `where` names task instances of one run `r`, whose id is `run`: it is found once, before its tasks, and not for each of them. */
const selectSituations = (run: string, where: string): string => `
      select t.id::text as id, k.task_id as "taskId", t.state, t.attempts as attempt, coalesce(t.ready_at, t.started_at) as "readyAt", t.started_at as "startedAt",
             t.ended_at as "endedAt", t.not_before as "notBefore", p.dag_paused_by as "dagPausedBy", p.run_paused_by as "runPausedBy",
             p.backfill_paused_by as "backfillPausedBy",
             (select x.kind from sluice.run_action x where x.run_id = r.id) as "runAction", r.state = 'queued' as "isRunQueued",
             t.waits_apart as "isApart", t.lost_attempts as "lostAttempts",
             l.worker_id as "workerId", case t.state when 'deferred' then f.reason else a.reason end as reason, a.error,
             coalesce(f.times, 0) as deferrals,
             case when w.code is not null then
               w.detail || jsonb_build_object('code', w.code, 'since', to_char(w.since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
             end as wait,
             coalesce((
               select jsonb_agg(jsonb_build_object('taskId', p.task_id, 'state', i.state) order by p.ord)
                 from sluice.dag_task p
                cross join lateral (select i.state from sluice.task_instance i where i.id = r.id << 20 | p.ord offset 0) i
                where p.version_id = r.version_id and p.ord = any (k.parents) and i.state <> 'success'), '[]') as parents
        from sluice.dag_run r
        join sluice.run_pause p on p.run_id = r.id
        cross join lateral (select t.* from sluice.task_instance t where ${where} offset 0) t
        -- offset 0 keeps this a search by the whole key, whatever the planner believes of the number of tasks.
        cross join lateral (select k.task_id, k.parents from sluice.dag_task k
                             where k.version_id = r.version_id and k.ord = (t.id & 1048575)::int offset 0) k
        left join sluice.workload_wait w on w.workload_id = t.workload_id
        left join lateral (select l.worker_id from sluice.live_attempt l where l.task_instance_id = t.id offset 0) l on true
        left join lateral (select f.reason, f.times from sluice.deferral f where f.task_instance_id = t.id offset 0) f on true
        left join lateral (select a.reason, a.error from sluice.attempt a
                            where a.task_instance_id = t.id order by a.number desc limit 1) a on true
       where r.id = ${run}`;

/** Everything that says why a task instance is where it is. */
export async function findSituation(db: Db, taskInstanceId: string): Promise<TaskSituation | undefined> {
  const text = selectSituations("$1::bigint >> 20", "t.run_id = r.id and t.id = $1::bigint");
  const { rows } = await db.query({ name: "find-situation", text, values: [taskInstanceId] });
  return Row.optional().parse(rows[0]);
}

/** The same for every task instance of a run, by its id. */
export async function listSituations(db: Db, runId: string): Promise<Map<string, TaskSituation>> {
  const text = selectSituations("$1::bigint", "t.id >= r.id << 20 and t.id < (r.id + 1) << 20");
  const { rows } = await db.query<{ id: string }>({ name: "list-situations", text, values: [runId] });
  return new Map(rows.map((row) => [row.id, Row.parse(row)]));
}

/** Why a run does not go on yet; undefined when it is not queued. */
export async function findQueuedRun(db: Db, runId: string): Promise<QueuedRun | undefined> {
  const { rows } = await db.query<QueuedRun>({
    name: "find-queued-run",
    text: `
      select d.id as "dagId", b.id::text as "backfillId", p.dag_paused_by as "dagPausedBy", p.run_paused_by as "runPausedBy",
             p.backfill_paused_by as "backfillPausedBy",
             case when d.max_active_runs = 1 then 1 else coalesce(b.max_active, d.max_active_runs) end as limit,
             case when b.id is null or d.max_active_runs = 1 then sluice.going_runs(d.id, d.max_active_runs)::int
             else (select count(*)::int from sluice.dag_run o where o.backfill_id = b.id and o.state = 'running') end as running,
             case when b.id is null then
               (select count(*)::int from sluice.dag_run o
                 where o.dag_id = d.id and o.state = 'queued' and o.backfill_id is null and o.paused_by is null and o.id < r.id)
             else
               (select count(*)::int from sluice.dag_run o
                 where o.backfill_id = b.id and o.state = 'queued' and o.paused_by is null
                   and case b.start_order when 'asc' then (o.logical_date, o.id) < (r.logical_date, r.id)
                                          else (o.logical_date, o.id) > (r.logical_date, r.id) end)
             end as ahead
        from sluice.dag_run r
        join sluice.dag d on d.id = r.dag_id
        join sluice.run_pause p on p.run_id = r.id
        left join sluice.backfill b on b.id = r.backfill_id
       where r.id = $1::bigint and r.state = 'queued'`,
    values: [runId],
  });
  return rows[0];
}
