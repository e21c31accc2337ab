import type { Tx } from "./pool.ts";
import { lockSchedules, lookAtSchedules, skipPause } from "./schedules.ts";
import { unadmitHeld } from "./unadmit.ts";

/**
 * Pausing is a mark on the DAG, the backfill or the run (`sluice.run_pause`), and `held` on the tasks that have not ended: admission's index leaves them
 * out, so a thousand paused tasks cost it nothing.
 */

/**
 * False when there is no such DAG. `actor` null goes on with it; what was due in the pause is then left out, unless
 * `catchesUp`.
 */
export async function markDagPaused(
  tx: Tx,
  dagId: string,
  actor: string | null,
  catchesUp: boolean = false,
): Promise<boolean> {
  await lockSchedules(tx, dagId);
  if (actor === null && !catchesUp) await skipPause(tx, dagId);
  const { rowCount } = await tx.query(
    `update sluice.dag
        set paused_by = $2, paused_at = case when $2::text is not null then coalesce(paused_at, sluice.clock()) end
      where id = $1`,
    [dagId, actor],
  );
  if (rowCount === 0) return false;
  await lookAtSchedules(tx, dagId);
  const { rows } = await tx.query<{ id: string }>(
    "select id from sluice.dag_run where dag_id = $1 and state in ('queued', 'running') and backfill_id is null order by id for update",
    [dagId],
  );
  await holdTasks(
    tx,
    rows.map((row) => row.id),
  );
  return true;
}

/** Undefined when there is no such run, false when it has ended. */
export async function markRunPaused(tx: Tx, runId: string, actor: string | null): Promise<boolean | undefined> {
  const { rows } = await tx.query<{ open: boolean }>(
    "select state in ('queued', 'running') as open from sluice.dag_run where id = $1 for update",
    [runId],
  );
  if (rows[0]?.open !== true) return rows[0]?.open;
  await tx.query("update sluice.dag_run set paused_by = $2 where id = $1", [runId, actor]);
  await tx.query(
    `insert into sluice.event (run_id, from_state, to_state, reason, actor)
     select id, state, state, case when paused_by is null then 'RESUMED' else 'PAUSED' end, $2
       from sluice.dag_run where id = $1`,
    [runId, actor ?? "resume"],
  );
  await holdTasks(tx, [runId]);
  return true;
}

/** Holds the tasks of locked runs, or lets them go, as the pauses say now. */
export async function holdTasks(tx: Tx, runIds: readonly string[]): Promise<void> {
  await tx.query(
    `update sluice.task_instance t
        set held = x.held, ready_at = case when t.state = 'ready' and not x.held then sluice.clock() else t.ready_at end
       from (select run_id as id, is_held as held from sluice.run_pause where run_id = any ($1::bigint[])) x
      where t.id >= x.id << 20 and t.id < (x.id + 1) << 20 and t.held <> x.held and t.ended_at is null`,
    [runIds],
  );
  // A statement of its own: what admission handed over while this waited for its locks is seen as well.
  await unadmitHeld(tx, runIds);
}
