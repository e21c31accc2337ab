import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { deleteSlice } from "#lib/db/retention.ts";
import { chain } from "../dags.ts";
import { type Figure, figureOf, percentile } from "../report.ts";
import { runSeconds, stepsMs } from "../runs.ts";
import type { System } from "../system.ts";
import type { Measure, MeasureContext } from "./measure.ts";
import { WITHOUT_LIMITS } from "#lib/db/session-settings.ts";

const TASKS_PER_RUN = 20;
/** The rate at which B10 makes them is 800: retention must keep up with twice that. */
const DELETES_PER_S = 1_600;
const CHAIN_RUNS = 2;
const CYCLES = 3;
const SLICE_ROWS = 10_000;
const TABLES = ["dag_run", "run_progress", "task_instance"];

/**
 * retention: task instances that a scheduler's retention deletes in a second, and what a chain step takes beside it against without it,
 * in alternating pairs; then the sizes of the plain tables after each of three times that `--rows` task instances came and went.
 */
export const retention: Measure = async (context) => {
  const { system, rows } = context;
  await system.addDag("chain-200", chain("chain-200", 200));
  await pause(system);
  await insertExpired(system, rows);
  const pairs = await inPairs(context);
  await pause(system);
  const cycles = await cyclesOf(context);
  const size = (id: string, of: (sizes: Sizes) => number): Figure =>
    figureOf({ id: `retention.${id}`, kind: "cost", unit: "MB", runs: cycles.map(({ sizes }) => of(sizes) / 1e6) });
  return [
    figureOf({
      id: "retention.deletes",
      kind: "F",
      unit: "tasks/s",
      runs: pairs.map(({ deletesPerS }) => deletesPerS),
      target: { atLeast: DELETES_PER_S },
    }),
    figureOf({ id: "retention.step.without", kind: "F", unit: "ms", runs: pairs.map(({ without }) => without) }),
    figureOf({ id: "retention.step.beside", kind: "F", unit: "ms", runs: pairs.map(({ beside }) => beside) }),
    figureOf({
      id: "retention.step.ratio",
      kind: "F",
      unit: "×",
      runs: pairs.map(({ without, beside }) => beside / without),
      target: { atMost: 1.1 },
    }),
    figureOf({
      id: "retention.deletes.unpaced",
      kind: "cost",
      unit: "tasks/s",
      runs: cycles.map(({ deletesPerS }) => deletesPerS),
    }),
    size("heap", ({ heap }) => heap),
    size("indexes", ({ indexes }) => indexes),
  ];
};

/** Ended runs that are past their time, as the engine leaves them. */
async function insertExpired(system: System, tasks: number): Promise<void> {
  const runs = 1_000;
  for (let left = tasks; left > 0; left -= runs * TASKS_PER_RUN) {
    await system.pool.query(
      `with r as (
         insert into sluice.dag_run (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end,
                                     actor, created_at, started_at, ended_at)
         select sluice.new_run_id(30), 30, d.id, d.current_version_id, 'success', 'manual', x.at, x.at, x.at, 'bench', x.at, x.at, x.at
           from sluice.dag d cross join lateral (select now() - interval '40 days' as at) x cross join generate_series(1, $1)
          where d.id = 'chain-200'
         returning id, ended_at),
       p as (insert into sluice.run_progress (run_id, open) select id, 0 from r)
       insert into sluice.task_instance (id, run_id, state, workload_id, lane_id, open_parents, attempts, ready_at, started_at, ended_at)
       select r.id << 20 | o, r.id, 'success', w.id, w.lane_id, 0, 1, r.ended_at, r.ended_at, r.ended_at
         from r cross join generate_series(0, $2::int - 1) o
         cross join (select id, lane_id from sluice.workload where dag_id = 'chain-200' limit 1) w`,
      [runs, TASKS_PER_RUN],
    );
  }
  await unlimited(system, (client) => client.query(`analyze ${TABLES.map((table) => `sluice.${table}`).join(", ")}`));
}

/** No scheduler deletes for so long: less than the minute beyond which a time is taken for a clock that was wrong. */
const PAUSE_S = 55;

async function pause({ pool }: System): Promise<void> {
  await pool.query("update sluice.retention set next_slice_at = sluice.clock() + $1 * interval '1 s'", [PAUSE_S]);
}

/** What takes as long as the tables are large, on a connection without limits. */
async function unlimited<T>({ url }: System, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(WITHOUT_LIMITS);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function tasksLeft(system: System): Promise<number> {
  const { rows } = await unlimited(system, (client) =>
    client.query<{ n: number }>(
      "select count(*)::int as n from sluice.task_instance where ended_at < now() - interval '30 days'",
    ),
  );
  return rows[0]!.n;
}

/** A scheduler asks again every ten seconds at the latest. */
async function deletionBegins(system: System): Promise<void> {
  await system.pool.query("update sluice.retention set next_slice_at = null");
  for (;;) {
    const { rows } = await system.pool.query<{ begun: boolean }>(
      "select next_slice_at is not null as begun from sluice.retention",
    );
    if (rows[0]!.begun) return;
    await delay(20);
  }
}

type Pair = { without: number; beside: number; deletesPerS: number };

async function inPairs(context: MeasureContext): Promise<Pair[]> {
  const { system, pairs: count } = context;
  await steps(system);
  const pairs: Pair[] = [];
  for (let n = 0; n < count; n++) {
    await pause(system);
    const without = await steps(system);
    const before = await tasksLeft(system);
    await deletionBegins(system);
    const began = performance.now();
    const beside = await steps(system);
    await pause(system);
    const seconds = (performance.now() - began) / 1_000;
    const left = await tasksLeft(system);
    if (left === 0) throw new Error("all was deleted before the measure was over: give more --rows");
    pairs.push({ without, beside, deletesPerS: (before - left) / seconds });
  }
  return pairs;
}

/** The median step of some chains in milliseconds. */
async function steps(system: System): Promise<number> {
  const all: number[] = [];
  for (let n = 0; n < CHAIN_RUNS; n++) {
    const runId = await system.trigger("chain-200");
    await system.drained();
    await runSeconds(system.pool, runId);
    all.push(...(await stepsMs(system.pool, runId)));
  }
  return percentile(all, 50);
}

type Sizes = { heap: number; indexes: number };

/** As many rows in and out again, several times: what was freed is used by what comes. */
async function cyclesOf({ system, rows }: MeasureContext): Promise<{ deletesPerS: number; sizes: Sizes }[]> {
  await deleteAll(system);
  const cycles: { deletesPerS: number; sizes: Sizes }[] = [];
  for (let n = 0; n < CYCLES; n++) {
    await insertExpired(system, rows);
    const tasks = await tasksLeft(system);
    const seconds = await deleteAll(system);
    // What autovacuum does of itself, at a known time.
    await unlimited(system, async (client) => {
      for (const table of TABLES) await client.query(`vacuum sluice.${table}`);
    });
    cycles.push({ deletesPerS: tasks / seconds, sizes: await sizes(system) });
  }
  return cycles;
}

/** By slices of the largest size that is allowed, without pauses; returns seconds. */
async function deleteAll(system: System): Promise<number> {
  const began = performance.now();
  for (let waitMs: number | null = 0; waitMs !== null;) {
    await system.pool.query("update sluice.retention set next_slice_at = null");
    ({ waitMs } = await deleteSlice(system.pool, SLICE_ROWS));
  }
  return (performance.now() - began) / 1_000;
}

async function sizes({ pool }: System): Promise<Sizes> {
  const { rows } = await pool.query<Sizes>(
    `select sum(pg_relation_size(('sluice.' || t)::regclass))::float8 as heap,
            sum(pg_indexes_size(('sluice.' || t)::regclass))::float8 as indexes from unnest($1::text[]) t`,
    [TABLES],
  );
  return rows[0]!;
}
