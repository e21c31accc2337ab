import type { Claimed } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { type Generation, enterGenerations, listGenerations, openGeneration } from "#lib/db/generations.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { finish } from "#lib/engine/finish.ts";
import { deleteExpired, deleteLeftBehind, rotateGenerations } from "#lib/engine/retention.ts";
import { claimAll, failed, forgetRuns, moveClock, start, success, worker } from "./engine.ts";
import { publishScheduled } from "./schedules.ts";

/** What tells a run's rows in each: plain tables, and those in generations. */
export const RUN_TABLES = { dag_run: "id", run_progress: "run_id", run_key: "run_id", task_instance: "run_id" };
export const HISTORY_TABLES = {
  dead_letter: "task_instance_id >> 20",
  xcom: "task_instance_id >> 20",
  attempt: "task_instance_id >> 20",
  event: "run_id",
  task_log: "task_instance_id >> 20",
};

const BASH = { tasks: [{ id: "only", type: "bash", config: { command: "true" } }] };

/** No runs; small generations, all of them new, the real time, and runs that are kept for thirty days. */
export async function freshGenerations(deps: EngineDeps): Promise<void> {
  await forgetRuns(deps);
  await deps.pool.query("truncate sluice.retention");
  await deps.pool.query("insert into sluice.retention (generation_runs) values (1000)");
  for (const { keepDays, closedAt } of await listGenerations(deps.pool))
    if (closedAt === null) await openGeneration(deps.pool, keepDays);
  await enterGenerations(deps.pool);
}

/** The generation that a run's id lies in. */
export async function generationOf({ pool }: EngineDeps, runId: string): Promise<Generation> {
  const all = await listGenerations(pool);
  return all.find(({ firstRun, endRun }) => BigInt(runId) >= BigInt(firstRun) && BigInt(runId) < BigInt(endRun))!;
}

/** A run that has come to its end, with a log and, of a success, an output. */
export async function ended(
  deps: EngineDeps,
  dagId: string,
  end: (attempt: Claimed) => Finish = success,
): Promise<string> {
  const w = await worker(deps, "w");
  const runId = await start(deps, dagId);
  for (const attempt of await claimAll(deps, w)) {
    const { taskInstanceId, number, token } = attempt;
    const line = { taskInstanceId, number, token, seq: 0, stream: "stdout" as const, bytes: Buffer.from("hello\n") };
    await deps.logs.append([line]);
    const output = end === success ? { output: "1" } : {};
    await finish(deps, [{ ...end(attempt), ...output }], "worker:w");
  }
  return runId;
}

/** The same whose task has failed for good. */
export const endedBadly = (deps: EngineDeps, dagId: string): Promise<string> => ended(deps, dagId, failed);

/** A run of a new DAG in a generation that is closed eight days later, which is now. */
export async function oldRun(deps: EngineDeps, dagId: string): Promise<{ runId: string; generation: Generation }> {
  await publishScheduled(deps, dagId, BASH);
  const runId = await ended(deps, dagId);
  await moveClock(deps, "8 days");
  await rotateGenerations(deps);
  return { runId, generation: await generationOf(deps, runId) };
}

/** So many ended runs of a DAG, of one task each, forty days old: as the engine leaves them, in one statement. */
export async function insertExpired({ pool }: EngineDeps, dagId: string, runs: number): Promise<void> {
  await pool.query(
    `with r as (
       insert into sluice.dag_run (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end,
                                   actor, created_at, started_at, ended_at)
       select sluice.new_run_id(30), 30, d.id, d.current_version_id, 'success', 'manual', x.at, x.at, x.at, 'test', x.at, x.at, x.at
         from sluice.dag d cross join generate_series(1, $2) n
        cross join lateral (select sluice.clock() - interval '40 days' + n * interval '1 s' as at) x
        where d.id = $1
       returning id, ended_at),
     p as (insert into sluice.run_progress (run_id, open) select id, 0 from r)
     insert into sluice.task_instance (id, run_id, state, workload_id, lane_id, open_parents, attempts, ready_at, started_at, ended_at)
     select r.id << 20, r.id, 'success', w.id, w.lane_id, 0, 1, r.ended_at, r.ended_at, r.ended_at
       from r cross join (select id, lane_id from sluice.workload where dag_id = $1 limit 1) w`,
    [dagId, runs],
  );
}

/** All slices of a pass, without the pauses in between. */
export async function deleteAll(deps: EngineDeps): Promise<void> {
  for (let waitMs: number | undefined = 0; waitMs !== undefined; waitMs = await deleteExpired(deps))
    await deps.pool.query("update sluice.retention set next_slice_at = null");
}

/** What a scheduler does in time. */
export async function retentionPass(deps: EngineDeps): Promise<void> {
  await deleteAll(deps);
  await deleteLeftBehind(deps);
}

export const runExists = async ({ pool }: EngineDeps, runId: string): Promise<boolean> =>
  (await pool.query("select from sluice.dag_run where id = $1", [runId])).rowCount === 1;

/** The tables that have a partition of the generation. */
export async function partitionsOf({ pool }: EngineDeps, { number }: Generation): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
      where nspname = 'sluice' and relkind = 'r' and relname ~ $1 order by 1`,
    [`_g${number}$`],
  );
  return rows.map(({ name }) => name.replace(`_g${number}`, ""));
}
