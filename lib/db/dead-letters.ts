import type { Db } from "./pool.ts";

/** A task that failed for good, with its last attempt's error. */
export type DeadLetter = {
  taskInstanceId: string;
  runId: string;
  dagId: string;
  taskId: string;
  attempt: number;
  reason: string;
  error: string | null;
  failedAt: Date;
  dismissedAt: Date | null;
  dismissedBy: string | null;
};

export type DeadLetterFilter = {
  dagId?: string | undefined;
  runId?: string | undefined;
  taskId?: string | undefined;
  /** Dismissed ones as well. */
  all?: boolean | undefined;
};

/** Dead letters of runs that are still there, newest first, at most 1,000. */
export async function listDeadLetters(db: Db, { dagId, runId, taskId, all }: DeadLetterFilter): Promise<DeadLetter[]> {
  const { rows } = await db.query<DeadLetter>(
    `select d.task_instance_id as "taskInstanceId", (d.task_instance_id >> 20)::text as "runId", d.dag_id as "dagId",
            d.task_id as "taskId", d.attempt, d.reason, d.error, d.failed_at as "failedAt",
            d.dismissed_at as "dismissedAt", d.dismissed_by as "dismissedBy"
       from sluice.dead_letter d
      where exists (select from sluice.dag_run r where r.id = d.task_instance_id >> 20)
        and ($1::text is null or d.dag_id = $1)
        and ($2::bigint is null or d.task_instance_id >= $2 << 20 and d.task_instance_id < ($2 + 1) << 20)
        and ($3::text is null or d.task_id = $3) and ($4 or d.dismissed_at is null)
      order by d.failed_at desc, d.task_instance_id limit 1000`,
    [dagId ?? null, runId ?? null, taskId ?? null, all ?? false],
  );
  return rows;
}

/** Sets open ones aside without running anything again; answers how many. */
export async function dismissDeadLetters(db: Db, ids: readonly string[], actor: string): Promise<number> {
  const { rowCount } = await db.query(
    `update sluice.dead_letter set dismissed_at = sluice.clock(), dismissed_by = $2
      where task_instance_id = any ($1::bigint[]) and dismissed_at is null`,
    [ids, actor],
  );
  return rowCount ?? 0;
}
