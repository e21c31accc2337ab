import { endQuarantine } from "./quarantine.ts";
import type { Db, Tx } from "./pool.ts";
import { lockSchedules, lookAtSchedules, skipPause } from "./schedules.ts";

/**
 * Pausing is a mark on the DAG, the backfill or the run (`sluice.run_pause`), and `held` on the tasks that have not ended: admission's index leaves them
 * out, so a thousand paused tasks cost it nothing. Of few tasks both are one transaction. Of many, the mark is committed with an action of each run
 * (`sluice.run_action`), which keeps its tasks from beginning until slices have brought `held` in line with the mark.
 */

/**
 * Undefined when there is no such DAG, else the runs whose tasks are left to slices. `actor` null resumes it; what was due in the
 * pause is then left out, unless `catchesUp`.
 */
export async function markDagPaused(
  tx: Tx,
  dagId: string,
  actor: string | null,
  catchesUp: boolean = false,
): Promise<readonly string[] | undefined> {
  await lockSchedules(tx, dagId);
  if (actor === null && !catchesUp) await skipPause(tx, dagId);
  const { rowCount } = await tx.query(
    `update sluice.dag
        set paused_by = $2, paused_at = case when $2::text is not null then coalesce(paused_at, sluice.clock()) end
      where id = $1`,
    [dagId, actor],
  );
  if (rowCount === 0) return undefined;
  await lookAtSchedules(tx, dagId);
  return holdRunsOf(tx, "DAG", dagId, actor);
}

/** Undefined when there is no such run, false when it has ended, else the run if its tasks are left to slices. */
export async function markRunPaused(
  tx: Tx,
  runId: string,
  actor: string | null,
): Promise<readonly string[] | false | undefined> {
  const { rows } = await tx.query<{ open: boolean }>(
    "select state in ('queued', 'running') as open from sluice.dag_run where id = $1 for update",
    [runId],
  );
  if (rows[0] === undefined) return undefined;
  if (!rows[0].open) return false;
  await tx.query("update sluice.dag_run set paused_by = $2 where id = $1", [runId, actor]);
  await tx.query(
    `insert into sluice.event (run_id, from_state, to_state, reason, actor)
     select id, state, state, case when paused_by is null then 'RESUMED' else 'PAUSED' end, $2
       from sluice.dag_run where id = $1`,
    [runId, actor ?? "resume"],
  );
  return holdRunsOf(tx, "run", runId, actor);
}

/**
 * The runs of what is paused, also those that are paused by themselves: who resumes one at this moment does not see this pause. Of
 * those that are queued all tasks are held.
 */
const RUNS_OF = {
  DAG: "r.dag_id = $1 and r.backfill_id is null",
  backfill: "r.backfill_id = $1::bigint",
  run: "r.id = $1::bigint",
} as const;

/** Each of them costs a search of its own, under the locks of all. */
const RUNS_AT_ONCE = 100;

/**
 * Holds the tasks of all runs of a DAG, a backfill or a run that the transaction has locked and marked, or lets them go, as the
 * pauses say now. Returns the runs of which that is left to slices: all of them, where they are many or have many tasks together.
 */
export async function holdRunsOf(
  tx: Tx,
  what: keyof typeof RUNS_OF,
  id: string,
  actor: string | null,
): Promise<readonly string[]> {
  const { rows } = await tx.query<{ runIds: string[]; isSmall: boolean }>(
    // All tasks and not the open ones: what is open is found by reading all of a run.
    `select coalesce(array_agg(r.id::text order by r.id), '{}') as "runIds",
            coalesce(count(*) <= ${RUNS_AT_ONCE} and sum((select max(t.ord) + 1 from sluice.dag_task t where t.version_id = r.version_id))
                       <= sluice.hold_at_once() and not bool_or(exists (
              select from sluice.run_action a where a.run_id = r.id and a.kind in ('pause', 'resume'))), true) as "isSmall"
       from sluice.dag_run r
      where r.state = 'running' and ${RUNS_OF[what]}`,
    [id],
  );
  const { runIds, isSmall } = rows[0]!;
  if (!isSmall) return askToHold(tx, runIds, actor);
  await tx.query("select from sluice.dag_run where id = any ($1::bigint[]) order by id for update", [runIds]);
  await holdTasks(tx, runIds);
  return [];
}

/** Holds the tasks of locked runs, or lets them go, as the pauses say now; in the order of their ids. */
export async function holdTasks(tx: Tx, runIds: readonly string[]): Promise<void> {
  await tx.query(
    `select sluice.hold_tasks(x.run_id, x.is_held, 0, 1 << 20)
       from (select run_id, is_held from sluice.run_pause where run_id = any ($1::bigint[]) order by run_id offset 0) x`,
    [runIds],
  );
}

/**
 * Makes actions that bring the tasks of these runs in line with the marks of this transaction. One that is under way begins anew, in the
 * other direction if need be; what else a person asked of a run looks at the marks at its end, for which its row is locked here.
 */
async function askToHold(tx: Tx, runIds: readonly string[], actor: string | null): Promise<readonly string[]> {
  const { rows } = await tx.query<{ id: string }>({
    name: "ask-to-hold",
    text: `
      insert into sluice.run_action as a (run_id, kind, actor)
      select run_id, case when is_held then 'pause' else 'resume' end, $2
        from sluice.run_pause where run_id = any ($1::bigint[]) order by run_id
      on conflict (run_id) do update
        set kind = excluded.kind, args = '{}', actor = excluded.actor, requested_at = sluice.clock(), total = null, done = 0
        where a.kind in ('pause', 'resume')
      returning run_id as id`,
    values: [runIds, actor ?? "resume"],
  });
  const asked = rows.map((row) => row.id);
  await endQuarantine(tx, "actions", asked);
  return asked;
}

/** `open`: there is more to do. `outcome` is null when the run is neither being paused nor resumed. */
export type HeldSlice = {
  outcome: "open" | "complete" | null;
  rows: number;
  takenBack: number;
  dagId: string | null;
  backfillId: string | null;
  state: "queued" | "running" | "success" | "failed" | "cancelled" | null;
};

/** One slice of a pause or a resume of a run, a transaction of its own, of at most `most` tasks. */
export async function holdSlice(db: Db, runId: string, most: number): Promise<HeldSlice> {
  const { rows } = await db.query<HeldSlice>({
    name: "hold-slice",
    text: `select outcome, rows, taken_back as "takenBack", dag as "dagId", backfill as "backfillId", state
             from sluice.hold_slice($1, $2)`,
    values: [runId, most],
  });
  return rows[0]!;
}
