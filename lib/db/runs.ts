import type pg from "pg";
import type { TriggerKind } from "#lib/domain/states.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import type { Db, Tx } from "./pool.ts";

/** What a run is started from: the current version of a DAG that can be started. `schedules` are those of it. */
export type Startable = {
  versionId: string;
  params: Record<string, ParamSchema> | null;
  schedules: ScheduleDefinition[];
};

/** Undefined when the DAG does not exist or its file is gone. */
export async function findStartable(db: Db, dagId: string): Promise<Startable | undefined> {
  const { rows } = await db.query<Startable>({
    name: "find-startable",
    text: `
      select v.id as "versionId", v.params,
             array(select s.definition from sluice.schedule s where s.dag_id = d.id and s.ord is not null order by s.ord) as schedules
        from sluice.dag d join sluice.dag_version v on v.id = d.current_version_id
       where d.id = $1 and not d.missing`,
    values: [dagId],
  });
  return rows[0];
}

/** Now, by the clock that runs are started by. */
export async function readClock(db: Db): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>({ name: "read-clock", text: "select sluice.clock() as now" });
  return rows[0]!.now;
}

export type NewRun = {
  dagId: string;
  conf: Record<string, unknown>;
  logicalDate?: Date | undefined;
  /** The time the run is about; without it, the instant of its logical date. */
  interval?: { start: Date; end: Date } | undefined;
  note?: string | undefined;
  triggerKind: TriggerKind;
  actor: string;
};

/** About so many task instances are made in one statement. */
export const TASKS_AT_ONCE = 20_000;

/**
 * `started`: runs of the DAG that were started with it. `again`: they have tasks ready that are not admitted. `lanes`: those of
 * tasks that were, whose workers are to hear of it.
 */
/** `told`: the workers of `lanes` have been told that there is something to claim. */
export type InsertedRun = { runId: string; started: string[]; again: boolean; lanes: string[]; told: boolean };

type RunToInsert = NewRun & { versionId: string; params: Record<string, unknown> };

/**
 * Inserts a run of the version, in the caller's transaction; it and others of its DAG that there is room for are started with it,
 * unless another process is just starting runs of the DAG. `params` is what tasks will see of `conf`. What the started runs have
 * ready is left to the caller to admit. Undefined when the version is not the DAG's current one any more.
 */
export async function insertRunIfCurrent(db: Db, run: RunToInsert): Promise<InsertedRun | undefined> {
  const { rows } = await db.query<InsertedRow>({
    name: "start-run",
    text: `select run as "runId", started, again, lanes, false as told
             from sluice.start_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, false)`,
    values: valuesOf(run),
  });
  return insertedOf(rows[0]!);
}

/** The same as transactions of its own, which admit as well and tell the workers, in one round trip. */
export async function triggerRunIfCurrent(pool: pg.Pool, run: RunToInsert): Promise<InsertedRun | undefined> {
  const { rows } = await pool.query<Omit<InsertedRow, "runId"> & { run: string | null }>({
    name: "trigger-run",
    text: "call sluice.trigger_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null, null, null, null, null)",
    values: valuesOf(run),
  });
  const { run: runId, ...made } = rows[0]!;
  return insertedOf({ runId, ...made });
}

type InsertedRow = Omit<InsertedRun, "runId"> & { runId: string | null };

function insertedOf({ runId, ...made }: InsertedRow): InsertedRun | undefined {
  return runId === null ? undefined : { runId, ...made };
}

function valuesOf(run: RunToInsert): unknown[] {
  return [
    run.dagId,
    run.versionId,
    run.triggerKind,
    run.logicalDate ?? null,
    run.interval?.start ?? null,
    run.interval?.end ?? null,
    JSON.stringify(run.conf),
    JSON.stringify(run.params),
    run.note ?? null,
    run.actor,
    TASKS_AT_ONCE,
  ];
}

/** `nextBackfill`: the one that may start a run, where the DAG allows one at a time and has none of its own to start. */
export type Activated = { started: string[]; more: boolean; nextBackfill: string | null };

/**
 * Starts as many of the DAG's queued runs as its limit has room for, oldest first. Waits for whoever else is doing so.
 * Answers the runs, and whether there may be room for more of them than is done at once.
 */
export async function activateRuns(db: Db, dagId: string): Promise<Activated> {
  const { rows } = await db.query<Activated>({
    name: "activate-runs",
    text: `select started, more, next_backfill as "nextBackfill" from sluice.activate_runs($1, $2, true)`,
    values: [dagId, TASKS_AT_ONCE],
  });
  return rows[0]!;
}

/**
 * The same for several DAGs in one statement, without waiting. `more`: DAGs that may have room for more.
 * `busy`: DAGs that another transaction holds; nothing of them was started.
 */
export async function activateRunsOf(
  db: Db,
  dagIds: readonly string[],
): Promise<{ started: string[]; more: string[]; busy: string[]; backfills: string[] }> {
  const { rows } = await db.query<Activated & { id: string; busy: boolean }>({
    name: "activate-runs-of",
    text: `select d.id, a.started, a.more, a.busy, a.next_backfill as "nextBackfill"
             from unnest($1::text[]) d(id) cross join lateral sluice.activate_runs(d.id, $2, false) a`,
    values: [dagIds, TASKS_AT_ONCE],
  });
  return {
    started: rows.flatMap(({ started }) => started),
    more: rows.filter(({ more }) => more).map(({ id }) => id),
    busy: rows.filter(({ busy }) => busy).map(({ id }) => id),
    backfills: rows.flatMap(({ nextBackfill }) => nextBackfill ?? []),
  };
}

/** DAGs that have queued runs and room for them. */
export async function dagsWithQueuedRuns(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "dags-with-queued-runs",
    text: `
      select d.id from sluice.dag d
       where d.paused_by is null and d.id in (select dag_id from sluice.dag_run where state = 'queued' and backfill_id is null)
         -- As sluice.going_runs counts them, which Postgres does not inline.
         and d.max_active_runs > (select count(*) from sluice.dag_run r
                                   where r.dag_id = d.id and r.state = 'running'
                                     and (r.backfill_id is null or d.max_active_runs = 1))`,
  });
  return rows.map((row) => row.id);
}

export type KeyedRun = { runId: string; requestHash: string };

/** Waits for whoever is using the same key right now, then answers the run that holds it, if there is one. */
export async function lockRunKey(tx: Tx, dagId: string, key: string): Promise<KeyedRun | undefined> {
  await tx.query("select pg_advisory_xact_lock(hashtext('sluice.run_key'), hashtext($1))", [`${dagId}\n${key}`]);
  return findRunKey(tx, dagId, key);
}

/** The run that holds the key, as far as that is committed. */
export async function findRunKey(db: Db, dagId: string, key: string): Promise<KeyedRun | undefined> {
  const { rows } = await db.query<KeyedRun>(
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
