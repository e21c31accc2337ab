import pg from "pg";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { WITHOUT_LIMITS } from "#lib/db/session-settings.ts";

/**
 * What an installation holds after months, written by SQL in seconds (ten million task instances in minutes): statements
 * whose plans and costs are to be seen at size find it there. The engine makes one row of each kind; the others are copies of these rows with other keys,
 * so that a column that is added later is filled as the engine fills it.
 */
export type History = {
  /** Generations of the default class, the open one among them; those that are there count. */
  generations: number;
  /** Ended runs, with their attempts and events, spread over all generations and DAGs. */
  endedRuns: number;
  /** Tasks of each run, which wait for nothing; one where it is not said. */
  tasksPerRun?: number;
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

/** From so many task instances on, indexes are built after the rows are there and not with each row. */
const BULK_TASKS = 1_000_000;

/** Which tables are written beside which, each list by a session of its own. */
const LANES = [["dag_run", "run_progress", "task_instance"], ["attempt"], ["event"]] as const;

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
  await unhurried(pool, (client) =>
    inTransaction(client, async () => {
      await copyDags(client, history.dags);
      await planRuns(client, history);
    }),
  );
  const tasks = history.endedRuns * (history.tasksPerRun ?? 1);
  await Promise.all(
    LANES.map((tables) =>
      unhurried(pool, (client) =>
        inTransaction(client, async () => {
          const rebuild = tasks < BULK_TASKS ? async () => undefined : await dropIndexes(client, tables);
          for (const table of tables) await FILL[table](client, runId, history);
          await rebuild();
        }),
      ),
    ),
  );
  await pool.query("drop table public.planned_history");
  await pool.query("delete from sluice.live_attempt where task_instance_id = $1::bigint << 20", [runId]);
  await pool.query("delete from sluice.run_progress where run_id = $1", [runId]);
  // By the key: no index has the run's id.
  await pool.query("delete from sluice.task_instance where id >= $1::bigint << 20 and id < ($1::bigint + 1) << 20", [
    runId,
  ]);
  await pool.query("delete from sluice.dag_run where id = $1", [runId]);
  await analyze(pool);
}

/** As autovacuum would have done long ago. */
export async function analyze(pool: pg.Pool): Promise<void> {
  const large = LANES.map((tables) => tables.map((table) => `sluice.${table}`).join(", "));
  await Promise.all(large.map((tables) => unhurried(pool, (client) => client.query(`vacuum (analyze) ${tables}`))));
  await unhurried(pool, (client) => client.query("vacuum (analyze)"));
}

/** On a connection without the limits and the planner's settings that the product's have. */
async function unhurried(pool: pg.Pool, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: pool.options.connectionString });
  await client.connect();
  await client.query(WITHOUT_LIMITS);
  try {
    await client.query("set synchronous_commit = off; set maintenance_work_mem = '512MB'");
    await work(client);
  } finally {
    await client.end();
  }
}

async function inTransaction(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query("begin");
  await work();
  await client.query("commit");
}

/**
 * Drops the indexes of these tables, those of their primary keys among them, and returns what builds them again from
 * their own definitions. A partitioned table's cover its partitions.
 */
async function dropIndexes(tx: pg.Client, tables: readonly string[]): Promise<() => Promise<void>> {
  const named = tables.map((table) => `sluice.${table}`);
  const keys = await tx.query<{ drop: string; build: string }>(
    `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
            format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as build
       from pg_constraint where conrelid = any ($1::text[]::regclass[]) and contype in ('p', 'u')`,
    [named],
  );
  for (const { drop } of keys.rows) await tx.query(drop);
  const others = await tx.query<{ drop: string; build: string }>(
    `select format('drop index %s', indexrelid::regclass) as drop, pg_get_indexdef(indexrelid) as build
       from pg_index where indrelid = any ($1::text[]::regclass[])`,
    [named],
  );
  for (const { drop } of others.rows) await tx.query(drop);
  return async () => {
    for (const { build } of [...keys.rows, ...others.rows]) await tx.query(build);
  };
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

async function publishOriginal({ pool }: EngineDeps, { dag, task, tasksPerRun = 1 }: History): Promise<void> {
  const id = `${HISTORY_DAG}0`;
  const spec = DagSpec.parse({
    id,
    limits: { maxActiveRuns: 100_000 },
    tasks: Array.from({ length: tasksPerRun }, (_, n) => ({ id: `t${n}`, type: "noop", config: {}, ...task })),
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

/** One row for each run that is to be: its id, its DAG, whether it has ended, and how many hours ago. */
async function planRuns(tx: pg.Client, history: History): Promise<void> {
  await tx.query(
    `create unlogged table public.planned_history as
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
      cross join (select sluice.clock() as now offset 0) x
      order by r.id`,
  );
  await tx.query("analyze public.planned_history");
}

const PLANNED = "public.planned_history n";

type Fill = (tx: pg.Client, original: string, history: History) => Promise<unknown>;

/** How the rows of each table are made from those of the original run, or where it has none. */
const FILL: Readonly<Record<(typeof LANES)[number][number], Fill>> = {
  dag_run: (tx, original) =>
    copyRows(tx, "dag_run", `id = ${original}`, PLANNED, {
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
    }),
  run_progress: (tx, original) =>
    copyRows(tx, "run_progress", `run_id = ${original}`, PLANNED, {
      run_id: "n.id",
      open: "case when n.has_ended then 0 else b.open end",
    }),
  task_instance: (tx, original) =>
    copyRows(tx, "task_instance", `run_id = ${original}`, PLANNED, {
      id: "n.id << 20 | (b.id & ((1 << 20) - 1))",
      run_id: "n.id",
      workload_id: "n.workload",
      // The original may have been handed over already.
      state: "case when n.has_ended then 'success' else 'ready' end",
      attempts: "case when n.has_ended then 1 else 0 end",
      ready_at: "n.began",
      started_at: "case when n.has_ended then n.began end",
      ended_at: "n.ended",
    }),
  attempt: (tx, _, { tasksPerRun = 1 }) =>
    tx.query(
      `insert into sluice.attempt (task_instance_id, number, id, state, reason, worker_id, ready_at, queued_at,
                                   started_at, ended_at)
       select n.id << 20 | o, 1, gen_random_uuid(), 'success', 'EXIT', 'history', n.began, n.began, n.began, n.ended
         from ${PLANNED} cross join generate_series(0, ${tasksPerRun} - 1) o where n.has_ended`,
    ),
  event: (tx) =>
    tx.query(
      `insert into sluice.event (run_id, from_state, to_state, actor, at)
       select n.id, 'running', 'success', 'worker:history', n.ended from ${PLANNED} where n.has_ended`,
    ),
};

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
