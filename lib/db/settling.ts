import type { TaskState } from "#lib/domain/states.ts";
import type { Db, Tx } from "./pool.ts";

export type UnsettledRun = { versionId: string; states: TaskState[] };

/** Takes the run for itself and answers its tasks' states by ordinal; undefined when there is nothing to settle. */
export async function lockUnsettledRun(tx: Tx, runId: string): Promise<UnsettledRun | undefined> {
  const { rows } = await tx.query<{ versionId: string }>(
    `select version_id as "versionId" from sluice.dag_run where id = $1 and state = 'running' for update`,
    [runId],
  );
  const run = rows[0];
  if (!run) return undefined;
  const progress = await tx.query("select from sluice.run_progress where run_id = $1 and unsettled", [runId]);
  if (progress.rowCount === 0) return undefined;
  const states = await tx.query<{ state: TaskState }>(
    "select state from sluice.task_instance where id >= $1::bigint << 20 and id < ($1::bigint + 1) << 20 order by id",
    [runId],
  );
  return { versionId: run.versionId, states: states.rows.map((row) => row.state) };
}

/** The version's tasks in order, each with its parents' ids. */
export async function readVersionTasks(tx: Tx, versionId: string): Promise<{ id: string; dependsOn: string[] }[]> {
  const { rows } = await tx.query<{ id: string; dependsOn: string[] }>(
    `select t.task_id as id,
            coalesce(array_agg(p.task_id order by p.ord) filter (where p.task_id is not null), '{}') as "dependsOn"
       from sluice.dag_task t
       left join sluice.dag_edge e on e.version_id = t.version_id and e.to_ord = t.ord
       left join sluice.dag_task p on p.version_id = t.version_id and p.ord = e.from_ord
      where t.version_id = $1 group by t.ord, t.task_id order by t.ord`,
    [versionId],
  );
  return rows;
}

/** `waiting` → `upstream_failed` for the given ordinals, and the run's end when that leaves nothing open. */
export async function endUpstreamFailed(tx: Tx, runId: string, ords: readonly number[], actor: string): Promise<void> {
  await tx.query(
    `with lk as materialized (
       select id from sluice.task_instance
        where id = any (select $1::bigint << 20 | o from unnest($2::int[]) o) and state = 'waiting'
        order by id for update),
     moved as (
       update sluice.task_instance t set state = 'upstream_failed', ended_at = sluice.clock()
         from lk where t.id = lk.id returning t.id),
     e as (
       insert into sluice.event (run_id, task_instance_id, from_state, to_state, actor)
       select $1, id, 'waiting', 'upstream_failed', $3 from moved),
     progress as (
       update sluice.run_progress p
          set open = p.open - (select count(*) from moved), unsettled = false,
              failed_leaves = p.failed_leaves + (
                select count(*) from moved m join sluice.dag_run r on r.id = $1
                  join sluice.dag_task t on t.version_id = r.version_id and t.ord = m.id & 1048575 and t.is_leaf)
        where p.run_id = $1
       returning p.run_id, p.open, p.failed_leaves),
     closed as (
       update sluice.dag_run r
          set state = case when p.failed_leaves > 0 then 'failed' else 'success' end, ended_at = sluice.clock()
         from progress p where r.id = p.run_id and p.open = 0 and r.state = 'running'
       returning r.id, r.state)
     insert into sluice.event (run_id, from_state, to_state, actor) select id, 'running', state, $3 from closed`,
    [runId, ords, actor],
  );
}

/** Runs left unsettled by a process that died between finishing and settling. */
export async function unsettledRuns(db: Db, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    "select run_id as id from sluice.run_progress where unsettled order by run_id limit $1",
    [limit],
  );
  return rows.map((row) => row.id);
}
