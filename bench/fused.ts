import { randomUUID } from "node:crypto";
import type pg from "pg";

/**
 * A step of a chain at its cheapest: one statement and one commit that ends a task, writes its event, and claims the next
 * task for the same worker. It has no trigger rules, limits or retries, so it is what a step costs the database at least.
 */
const STEP = `
  with t as (update bench_fused.task set state = 'success', ended_at = clock_timestamp(), output = $4, lease_until = null
              where id = $1 and token = $2 and state = 'running' returning id, run_id, ord),
       ev as (insert into bench_fused.event (task_id, state) select id, 'success' from t),
       s as (select t.run_id, e.to_ord from t join bench_fused.edge e on e.from_ord = t.ord),
       u as (update bench_fused.task k
                set pending = k.pending - 1, state = case when k.pending = 1 then 'running' else k.state end,
                    token = $3, started_at = clock_timestamp(), lease_until = clock_timestamp() + interval '30 s'
               from s where k.run_id = s.run_id and k.ord = s.to_ord returning k.id, k.pending)
  select id from u where pending = 0`;

const TABLES = `
  create schema if not exists bench_fused;
  create table if not exists bench_fused.task (
    id bigint generated always as identity primary key, run_id bigint not null, ord int not null, state text not null,
    pending int not null, token uuid, output jsonb, started_at timestamptz, ended_at timestamptz, lease_until timestamptz,
    unique (run_id, ord)) with (fillfactor = 60);
  create table if not exists bench_fused.edge (from_ord int, to_ord int, primary key (from_ord, to_ord));
  create table if not exists bench_fused.event (
    id bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(),
    task_id bigint not null, state text not null);`;

/** Milliseconds of each step of a chain by that statement, on one connection, as its caller sees them. */
export async function fusedSteps(pool: pg.Pool, steps: number): Promise<number[]> {
  const client = await pool.connect();
  try {
    await client.query(TABLES);
    await client.query(
      "insert into bench_fused.edge select n, n + 1 from generate_series(0, $1::int - 1) n on conflict do nothing",
      [steps],
    );
    let token = randomUUID();
    const { rows } = await client.query<{ id: string }>(
      `with run as (select coalesce(max(run_id), 0) + 1 as id from bench_fused.task)
       insert into bench_fused.task (run_id, ord, state, pending, token)
       select run.id, n, case n when 0 then 'running' else 'waiting' end, least(n, 1), case n when 0 then $2::uuid end
         from run, generate_series(0, $1::int) n order by n returning id`,
      [steps, token],
    );
    let id: string | undefined = rows[0]!.id;
    const times: number[] = [];
    for (let n = 0; n < steps; n++) {
      const next = randomUUID();
      const started = performance.now();
      const result: pg.QueryResult<{ id: string }> = await client.query({
        name: "bench-fused",
        text: STEP,
        values: [id, token, next, "null"],
      });
      times.push(performance.now() - started);
      id = result.rows[0]?.id;
      if (id === undefined) throw new Error(`step ${n} of the fused statement has unlocked no task`);
      token = next;
    }
    return times;
  } finally {
    client.release();
  }
}
