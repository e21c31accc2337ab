import type { TriggerKind } from "#lib/domain/states.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { Tx } from "./pool.ts";

/** What a run is started from: the current version of a DAG that can be started. */
export type Startable = { versionId: string; params: Record<string, ParamSchema> | null; paused: boolean };

/** Undefined when the DAG does not exist or its file is gone. */
export async function findStartable(tx: Tx, dagId: string): Promise<Startable | undefined> {
  const { rows } = await tx.query<Startable>({
    name: "find-startable",
    text: `select v.id as "versionId", v.params, d.paused_by is not null as paused from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id
            where d.id = $1 and not d.missing`,
    values: [dagId],
  });
  return rows[0];
}

export type NewRun = {
  dagId: string;
  conf: Record<string, unknown>;
  logicalDate?: Date | undefined;
  note?: string | undefined;
  triggerKind: TriggerKind;
  actor: string;
};

/**
 * Inserts a run of the version with all its task instances, those that wait for nothing `ready`, in one statement.
 * `params` is what its tasks see of `conf`.
 */
export async function insertRun(
  tx: Tx,
  run: NewRun & { versionId: string; params: Record<string, unknown>; paused: boolean },
): Promise<string> {
  const { rows } = await tx.query<{ id: string }>({
    name: "insert-run",
    text: `
      with r as (
        insert into sluice.dag_run
          (dag_id, version_id, state, trigger_kind, logical_date, conf, note, actor, params, started_at)
        values ($1, $7, 'running', $2, coalesce($3, sluice.clock()), $4, $5, $6, $8, sluice.clock())
        returning id, version_id),
      t as (
        insert into sluice.task_instance (id, run_id, state, queue, slot_class, open_parents, held, ready_at)
        select r.id << 20 | t.ord, r.id, case when t.starts_ready then 'ready' else 'waiting' end, t.queue, t.slot_class,
               t.gate, $9, case when t.starts_ready then sluice.clock() end
          from r join sluice.dag_task t on t.version_id = r.version_id
        returning id),
      p as (
        insert into sluice.run_progress (run_id, open)
        select r.id, count(*) from r join sluice.dag_task t on t.version_id = r.version_id group by r.id),
      e as (
        insert into sluice.event (run_id, to_state, reason, actor) select r.id, 'running', $2, $6 from r)
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
      run.paused,
    ],
  });
  return rows[0]!.id;
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
