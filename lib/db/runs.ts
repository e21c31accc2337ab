import type { TriggerKind } from "#lib/domain/states.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { Db, Tx } from "./pool.ts";

/** What a run is started from: the current version of a DAG that can be started. */
export type Startable = { versionId: string; params: Record<string, ParamSchema> | null };

/** Undefined when the DAG does not exist or its file is gone. */
export async function findStartable(tx: Tx, dagId: string): Promise<Startable | undefined> {
  const { rows } = await tx.query<Startable>({
    name: "find-startable",
    text: `select v.id as "versionId", v.params from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id
            where d.id = $1 and not d.missing`,
    values: [dagId],
  });
  return rows[0];
}

/** Takes the DAG for counting its runs, until the end of `tx`. False when it does not exist or its file is gone. */
export async function lockForCounting(tx: Tx, dagId: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "lock-for-counting",
    text: "select from sluice.dag where id = $1 and not missing for no key update",
    values: [dagId],
  });
  return rowCount === 1;
}

export type NewRun = {
  dagId: string;
  conf: Record<string, unknown>;
  logicalDate?: Date | undefined;
  note?: string | undefined;
  triggerKind: TriggerKind;
  actor: string;
};

/** Inserts a queued run of the version, without its tasks. `params` is what they will see of `conf`. */
export async function insertRun(
  tx: Tx,
  run: NewRun & { versionId: string; params: Record<string, unknown> },
): Promise<string> {
  const { rows } = await tx.query<{ id: string }>({
    name: "insert-run",
    text: `
      with r as (
        insert into sluice.dag_run (dag_id, version_id, state, trigger_kind, logical_date, conf, note, actor, params)
        values ($1, $7, 'queued', $2, coalesce($3, sluice.clock()), $4, $5, $6, $8)
        returning id),
      e as (insert into sluice.event (run_id, to_state, reason, actor) select id, 'queued', $2, $6 from r)
      select id from r`,
    values: [
      run.dagId,
      run.triggerKind,
      run.logicalDate ?? null,
      JSON.stringify(run.conf),
      run.note ?? null,
      run.actor,
      run.versionId,
      JSON.stringify(run.params),
    ],
  });
  return rows[0]!.id;
}

/** About so many task instances are made in one statement. */
const TASKS_AT_ONCE = 20_000;

/**
 * `queued` → `running` for as many of the DAG's runs as its limit has room for, oldest first, each with all its task
 * instances, those that wait for nothing `ready`. Needs the DAG's row lock, taken in an earlier statement: the count
 * must see what others committed before. Answers the runs, and whether there was room for more of them than is done
 * at once.
 */
export async function activateRuns(tx: Tx, dagId: string): Promise<{ started: string[]; more: boolean }> {
  const { rows } = await tx.query<{ id: string; most: number }>({
    name: "activate-runs",
    text: `
      with room as (
        select d.max_active_runs - (select count(*) from sluice.dag_run r where r.dag_id = $1 and r.state = 'running') as n,
               greatest(1, $2 / (select greatest(1, count(*)) from sluice.dag_task t
                                  where t.version_id = d.current_version_id)) as most
          from sluice.dag d where d.id = $1 and d.paused_by is null),
      pick as (
        select id from sluice.dag_run
         where dag_id = $1 and state = 'queued' and paused_by is null
         order by id limit greatest(coalesce((select least(n, most) from room), 0), 0) for update),
      r as (
        update sluice.dag_run r set state = 'running', started_at = sluice.clock()
          from pick where r.id = pick.id returning r.id, r.version_id),
      t as (
        insert into sluice.task_instance (id, run_id, state, workload_id, open_parents, ready_at)
        select r.id << 20 | t.ord, r.id, case when t.starts_ready then 'ready' else 'waiting' end, t.workload_id,
               t.gate, case when t.starts_ready then sluice.clock() end
          from r join sluice.dag_task t on t.version_id = r.version_id
        returning id),
      p as (
        insert into sluice.run_progress (run_id, open)
        select r.id, count(*) from r join sluice.dag_task t on t.version_id = r.version_id group by r.id),
      e as (
        insert into sluice.event (run_id, from_state, to_state, actor) select id, 'queued', 'running', 'limits' from r)
      select r.id, room.most::int from r, room`,
    values: [dagId, TASKS_AT_ONCE],
  });
  return { started: rows.map((row) => row.id), more: rows.length > 0 && rows.length === rows[0]!.most };
}

/** DAGs that have queued runs and room for them. */
export async function dagsWithQueuedRuns(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "dags-with-queued-runs",
    text: `
      select d.id from sluice.dag d
       where d.paused_by is null and d.id in (select dag_id from sluice.dag_run where state = 'queued')
         and d.max_active_runs > (select count(*) from sluice.dag_run r where r.dag_id = d.id and r.state = 'running')`,
  });
  return rows.map((row) => row.id);
}

export type KeyedRun = { runId: string; requestHash: string };

/** Waits for whoever is using the same key right now, then answers the run that holds it, if there is one. */
export async function lockRunKey(tx: Tx, dagId: string, key: string): Promise<KeyedRun | undefined> {
  await tx.query("select pg_advisory_xact_lock(hashtext('sluice.run_key'), hashtext($1))", [`${dagId}\n${key}`]);
  const { rows } = await tx.query<KeyedRun>(
    `select run_id as "runId", request_hash as "requestHash" from sluice.run_key
      where dag_id = $1 and kind = 'idempotency' and key = $2`,
    [dagId, key],
  );
  return rows[0];
}

export async function insertRunKey(tx: Tx, dagId: string, key: string, run: KeyedRun): Promise<void> {
  await tx.query(
    "insert into sluice.run_key (dag_id, kind, key, run_id, request_hash) values ($1, 'idempotency', $2, $3, $4)",
    [dagId, key, run.runId, run.requestHash],
  );
}
