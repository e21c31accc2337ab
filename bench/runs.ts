import type pg from "pg";

/** Times of the engine's own rows: one clock, the database's. */

/** Seconds from the start of a run to its end. Throws when it did not end well or a task is missing from its history. */
export async function runSeconds(pool: pg.Pool, runId: string): Promise<number> {
  const { rows } = await pool.query<{ seconds: number; state: string; tasks: number; done: number }>(
    `select extract(epoch from r.ended_at - r.started_at)::float8 as seconds, r.state,
            (select count(*)::int from sluice.task_instance where run_id = r.id) as tasks,
            (select count(*)::int from sluice.attempt a
              where a.task_instance_id >= r.id << 20 and a.task_instance_id < (r.id + 1) << 20
                and a.state = 'success') as done
       from sluice.dag_run r where r.id = $1`,
    [runId],
  );
  const { seconds, state, tasks, done } = rows[0]!;
  if (state !== "success" || tasks !== done) {
    throw new Error(`run ${runId} ended ${state} with ${done} of ${tasks} tasks done: the figure counts for nothing`);
  }
  return seconds;
}

/** Milliseconds from the start of each task of a chain to the start of the next. */
export async function stepsMs(pool: pg.Pool, runId: string): Promise<number[]> {
  const { rows } = await pool.query<{ ms: number }>(
    `select extract(epoch from a.started_at - lag(a.started_at) over (order by a.task_instance_id))::float8 * 1000 as ms
       from sluice.attempt a where a.task_instance_id >= $1::bigint << 20 and a.task_instance_id < ($1::bigint + 1) << 20
      order by a.task_instance_id offset 1`,
    [runId],
  );
  return rows.map((row) => row.ms);
}
