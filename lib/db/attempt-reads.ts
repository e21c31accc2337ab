import { z } from "zod";
import type { Attempt } from "#lib/contract/task-instances.ts";
import { ATTEMPT_STATES } from "#lib/domain/states.ts";
import type { Db } from "./pool.ts";

const isoTime = z.date().transform((time) => time.toISOString());

const AttemptRows = z.array(
  z.object({
    number: z.number().int(),
    state: z.enum(ATTEMPT_STATES),
    reason: z.string().nullable(),
    exitCode: z.number().int().nullable(),
    error: z.string().nullable(),
    peakMemoryBytes: z.number().nullable(),
    cpuMs: z.number().int().nullable(),
    deferrals: z.number().int(),
    lostLogBytes: z.number().int(),
    workerId: z.string().nullable(),
    queuedAt: isoTime,
    startedAt: isoTime.nullable(),
    endedAt: isoTime.nullable(),
  }),
);

/** The last part: an attempt between two looks. While it looks, it is the live one, since its first look began. */
const selectAttempts = (where: string): string => `
  select a.*, coalesce((select sum(l.bytes) from sluice.log_loss l
                         where l.task_instance_id = a."taskInstanceId"::bigint and l.attempt = a.number), 0)::float8 as "lostLogBytes"
    from (
      select task_instance_id::text as "taskInstanceId", number, state, reason, exit_code as "exitCode", error,
             peak_memory::float8 as "peakMemoryBytes", cpu_ms::float8 as "cpuMs", coalesce(deferrals, 0) as deferrals,
             worker_id as "workerId", queued_at as "queuedAt", started_at as "startedAt", ended_at as "endedAt"
        from sluice.attempt where ${where}
      union all
      select a.task_instance_id::text, a.number, a.state, null, null, null, d.peak_memory::float8, d.cpu_ms::float8,
             coalesce(d.times, 0), a.worker_id, coalesce(d.queued_at, a.queued_at), coalesce(d.started_at, a.started_at), null
        from (select * from sluice.live_attempt where ${where} offset 0) a
        left join lateral (select * from sluice.deferral d where d.task_instance_id = a.task_instance_id offset 0) d on true
      union all
      select task_instance_id::text, number, 'deferred', reason, null, null, peak_memory::float8, cpu_ms::float8, times,
             worker_id, queued_at, started_at, null
        from sluice.deferral d
       where ${where} and (select a.id from sluice.live_attempt a where a.task_instance_id = d.task_instance_id) is null
    ) a
   order by number`;

/** Every attempt of a task instance, oldest first; the live one is last. */
export async function listAttempts(db: Db, taskInstanceId: string): Promise<Attempt[]> {
  const text = selectAttempts("task_instance_id = $1::bigint");
  const { rows } = await db.query({ name: "list-attempts", text, values: [taskInstanceId] });
  return AttemptRows.parse(rows);
}

/** The same for every task instance of a run that had one, by its id. */
export async function listRunAttempts(db: Db, runId: string): Promise<Map<string, Attempt[]>> {
  const text = selectAttempts("task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20");
  const { rows } = await db.query<{ taskInstanceId: string }>({ name: "list-run-attempts", text, values: [runId] });
  const byTask = Map.groupBy(rows, (row) => row.taskInstanceId);
  return new Map([...byTask].map(([id, attempts]) => [id, AttemptRows.parse(attempts)]));
}
