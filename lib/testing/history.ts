import pg from "pg";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { startRun } from "#lib/engine/start-run.ts";

/**
 * What an installation holds after months, written by SQL in seconds: statements whose plans and costs are to be seen
 * at size find it there. The engine makes one row of each kind; the others are copies of these rows with other keys,
 * so that a column that is added later is filled as the engine fills it.
 */
export type History = {
  /** Generations of the default class, the open one among them; those that are there count. */
  generations: number;
  /** Ended runs of one task each, with their attempts, spread over all generations and DAGs. */
  endedRuns: number;
  dags: number;
  /** Runs that go on for each DAG, each with one task that is `ready`. */
  readyRunsPerDag: number;
  /** Fields of the task of every one of these DAGs: its queue, its pool. */
  task?: Record<string, unknown>;
  /** Fields of every one of these DAGs: its schedules. */
  dag?: Record<string, unknown>;
};

/** The DAGs are `<prefix>1` to `<prefix>n`; `<prefix>0` is the one they are copies of. */
export const HISTORY_DAG = "history";

/** Ids that are far behind those which the sequence gives next, and still of the open generation. */
const BEYOND_NEXT = 1_000_000;

/** Fills a database, once. What the engine needs to know of the copies, and the planner, is up to date afterwards. */
export async function fillHistory(deps: EngineDeps, history: History): Promise<void> {
  const { pool } = deps;
  const filled = await pool.query("select from sluice.dag where id = $1", [`${HISTORY_DAG}1`]);
  if (filled.rowCount === 1) return;
  await openGenerations(pool, history.generations);
  await publishOriginal(deps, history);
  const { runId } = await startRun(deps, {
    dagId: `${HISTORY_DAG}0`,
    conf: {},
    triggerKind: "manual",
    actor: "history",
  });
  await unhurried(pool, async (client) => {
    await client.query("begin");
    await copyDags(client, history.dags);
    await copyRuns(client, runId, history);
    await client.query("commit");
  });
  await pool.query("delete from sluice.live_attempt where task_instance_id = $1::bigint << 20", [runId]);
  await pool.query("delete from sluice.run_progress where run_id = $1", [runId]);
  await pool.query("delete from sluice.task_instance where run_id = $1", [runId]);
  await pool.query("delete from sluice.dag_run where id = $1", [runId]);
  await analyze(pool);
}

/** As autovacuum would have done long ago. */
export async function analyze(pool: pg.Pool): Promise<void> {
  await unhurried(pool, (client) => client.query("vacuum (analyze)"));
}

/** On a connection without the limits and the planner's settings that the product's have. */
async function unhurried(pool: pg.Pool, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: pool.options.connectionString });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function openGenerations(pool: pg.Pool, wanted: number): Promise<void> {
  const { rows } = await pool.query<{ n: number }>(
    "select count(*)::int as n from sluice.generation where keep_days = (select keep_days from sluice.retention)",
  );
  for (let n = rows[0]!.n; n < wanted; n++) {
    await pool.query("select sluice.open_generation(keep_days) from sluice.retention");
  }
  await pool.query("select sluice.enter_generations()");
}

async function publishOriginal({ pool }: EngineDeps, { dag, task }: History): Promise<void> {
  const id = `${HISTORY_DAG}0`;
  const spec = DagSpec.parse({
    id,
    limits: { maxActiveRuns: 100_000 },
    tasks: [{ id: "only", type: "noop", config: {}, ...task }],
    ...dag,
  });
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "history" }));
}

async function copyDags(tx: pg.Client, dags: number): Promise<void> {
  const ofOriginal = `dag_id = '${HISTORY_DAG}0'`;
  const base = await tx.query<{ version: string; workload: number }>(
    `select (select max(id) from sluice.dag_version) as version, (select max(id) from sluice.workload) as workload`,
  );
  const { version, workload } = base.rows[0]!;
  const series = `generate_series(1, ${dags}) n`;
  await copyRows(tx, "dag", `id = '${HISTORY_DAG}0'`, series, {
    id: `'${HISTORY_DAG}' || n`,
    file: `'${HISTORY_DAG}' || n || '.yaml'`,
    current_version_id: `${version} + n`,
  });
  await copyRows(tx, "dag_version", ofOriginal, series, { id: `${version} + n`, dag_id: `'${HISTORY_DAG}' || n` });
  await copyRows(tx, "workload", ofOriginal, series, { id: `${workload} + n`, dag_id: `'${HISTORY_DAG}' || n` });
  await copyRows(
    tx,
    "dag_task",
    `version_id = (select current_version_id from sluice.dag where id = '${HISTORY_DAG}0')`,
    series,
    {
      version_id: `${version} + n`,
      workload_id: `${workload} + n`,
    },
  );
  await copyRows(tx, "schedule", ofOriginal, series, {
    id: "nextval(pg_get_serial_sequence('sluice.schedule', 'id'))",
    dag_id: `'${HISTORY_DAG}' || n`,
  });
  await tx.query("select setval(pg_get_serial_sequence('sluice.dag_version', 'id'), max(id)) from sluice.dag_version");
  await tx.query("select setval(pg_get_serial_sequence('sluice.workload', 'id'), max(id)) from sluice.workload");
}

async function copyRuns(tx: pg.Client, original: string, history: History): Promise<void> {
  // One row for each run that is to be: its id, its DAG, whether it has ended, and how many hours ago.
  await tx.query(
    `create temporary table planned on commit drop as
     with g as (select first_run, row_number() over (order by number) as place, count(*) over () as all_of
                  from sluice.generation where keep_days = (select keep_days from sluice.retention)),
          ended as (select n, (n - 1) % (select max(all_of) from g) + 1 as place
                      from generate_series(1, ${history.endedRuns}) n),
     run as (
       select g.first_run + ${BEYOND_NEXT} + e.n as id, 1 + e.n % ${history.dags} as dag, true as has_ended,
              (g.all_of - g.place + 1) * interval '20 hours' as age
         from ended e join g using (place)
       union all
       select g.first_run + ${2 * BEYOND_NEXT} + d * ${history.readyRunsPerDag} + r, d, false, interval '1 hour'
         from g, generate_series(1, ${history.dags}) d, generate_series(1, ${history.readyRunsPerDag}) r
        where g.place = g.all_of)
     select r.id, d.id as dag_id, d.current_version_id as version, w.id as workload, r.has_ended, x.now - r.age as began,
            case when r.has_ended then x.now - r.age + interval '1 second' end as ended
       from run r
       join sluice.dag d on d.id = '${HISTORY_DAG}' || r.dag
       join sluice.workload w on w.dag_id = d.id
      cross join (select sluice.clock() as now offset 0) x`,
  );
  await tx.query("analyze planned");
  await copyRows(tx, "dag_run", `id = ${original}`, "planned n", {
    id: "n.id",
    dag_id: "n.dag_id",
    version_id: "n.version",
    state: "case when n.has_ended then 'success' else b.state end",
    logical_date: "n.began",
    interval_start: "n.began",
    interval_end: "n.began",
    created_at: "n.began",
    started_at: "n.began",
    ended_at: "n.ended",
  });
  await copyRows(tx, "run_progress", `run_id = ${original}`, "planned n", {
    run_id: "n.id",
    open: "case when n.has_ended then 0 else b.open end",
  });
  await copyRows(tx, "task_instance", `run_id = ${original}`, "planned n", {
    id: "n.id << 20",
    run_id: "n.id",
    workload_id: "n.workload",
    // The original may have been handed over already.
    state: "case when n.has_ended then 'success' else 'ready' end",
    attempts: "case when n.has_ended then 1 else 0 end",
    ready_at: "n.began",
    started_at: "case when n.has_ended then n.began end",
    ended_at: "n.ended",
  });
  await tx.query(
    `insert into sluice.attempt (task_instance_id, number, id, state, reason, worker_id, ready_at, queued_at, started_at, ended_at)
     select n.id << 20, 1, gen_random_uuid(), 'success', 'EXIT', 'history', n.began, n.began, n.began, n.ended
       from planned n where n.has_ended`,
  );
  await tx.query(
    `insert into sluice.event (run_id, from_state, to_state, actor, at)
     select n.id, 'running', 'success', 'worker:history', n.ended from planned n where n.has_ended`,
  );
}

/** Copies the rows `b` of a table that `where` names, once for each `n` of `series`, with other values in some columns. */
async function copyRows(
  tx: pg.Client,
  table: string,
  where: string,
  series: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const { rows } = await tx.query<{ name: string }>(
    `select attname as name from pg_attribute
      where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`,
    [`sluice.${table}`],
  );
  const names = rows.map(({ name }) => name);
  const unknown = Object.keys(values).filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`sluice.${table} has no column ${unknown.join(", ")}`);
  await tx.query(
    `insert into sluice.${table} (${names.join(", ")}) overriding system value
     select ${names.map((name) => values[name] ?? `b.${name}`).join(", ")}
       from (select * from sluice.${table} where ${where}) b cross join ${series}`,
  );
}
