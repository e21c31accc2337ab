import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { moveClock } from "./engine.ts";

/** Sets the database's clock, for this pool, to about this instant; it goes on from there. */
export async function setClock(deps: EngineDeps, to: Date): Promise<void> {
  await moveClock(deps, `${to.getTime() - Date.now()} ms`);
}

/** Publishes a DAG of one task with these fields. */
export async function publishScheduled(
  deps: EngineDeps,
  id: string,
  fields: Record<string, unknown>,
  file: string = `${id}.yaml`,
): Promise<void> {
  const spec = DagSpec.parse({ id, tasks: [{ id: "only", type: "noop", config: {} }], ...fields });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file, source: "", author: "test" }));
}

/** Forgets all schedules, so that a file's tests do not fire each other's. */
export async function forgetSchedules({ pool }: EngineDeps): Promise<void> {
  await pool.query("truncate sluice.schedule, sluice.dropped_runs");
}

export type SeenRun = { dagId: string; scheduleId: string; logicalDate: Date; start: Date; end: Date; state: string };

/** Runs that schedules made, in the order of the ends of their intervals. */
export async function scheduledRuns({ pool }: EngineDeps, dagId: string): Promise<SeenRun[]> {
  const { rows } = await pool.query<SeenRun>(
    `select dag_id as "dagId", schedule_id as "scheduleId", logical_date as "logicalDate", interval_start as start,
            interval_end as end, state
       from sluice.dag_run where dag_id = $1 and trigger_kind = 'schedule' order by interval_end, id`,
    [dagId],
  );
  return rows;
}

/** `10:01` for each: the times of day at which runs were due. */
export async function dueTimes(deps: EngineDeps, dagId: string): Promise<string[]> {
  return (await scheduledRuns(deps, dagId)).map(({ end }) => end.toISOString().slice(11, 16));
}

export type SeenDrop = { reason: string; runs: number; firstDue: Date; lastDue: Date };

export async function droppedRuns({ pool }: EngineDeps, dagId: string): Promise<SeenDrop[]> {
  const { rows } = await pool.query<SeenDrop>(
    `select d.reason, d.runs::int as runs, d.first_due as "firstDue", d.last_due as "lastDue"
       from sluice.dropped_runs d join sluice.schedule s on s.id = d.schedule_id
      where s.dag_id = $1 order by d.first_due`,
    [dagId],
  );
  return rows;
}
