import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { fan } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import type { Measure, MeasureContext } from "./measure.ts";
import { WITHOUT_LIMITS } from "#lib/db/session-settings.ts";

const TASKS_PER_S = 800;
const WIDTH = 98;

/** B10: 800 tasks a second for a while: alone; beside a transaction that pins a snapshot; beside three reports. */
export const steady: Measure = async (context) => {
  const { system, minutes } = context;
  await system.addDag("fan-98", fan("fan-98", WIDTH));
  const seconds = (minutes * 60) / 3;
  const clean = await offered(context, seconds);
  const pinned = await withPinnedSnapshot(context, () => offered(context, seconds));
  const reports = await withReports(context, () => offered(context, seconds));
  const against = (id: string, measured: Offered): Figure =>
    figureOf({
      id,
      kind: "F",
      unit: "tasks/s",
      runs: [measured.rate],
      limit: { figure: clean.rate, target: { atLeast: 0.9 } },
    });
  return [
    figureOf({
      id: "B10.clean",
      kind: "F",
      unit: "tasks/s",
      runs: [clean.rate],
      target: { atLeast: 0.9 * TASKS_PER_S },
    }),
    against("B10.pinned-snapshot", pinned),
    against("B10.reports", reports),
    figureOf({ id: "B10.dead-rows.clean", kind: "F", unit: "per task", runs: [clean.deadPerTask] }),
    figureOf({ id: "B10.dead-rows.pinned", kind: "F", unit: "per task", runs: [pinned.deadPerTask] }),
  ];
};

type Offered = { rate: number; deadPerTask: number };

async function offered({ system }: MeasureContext, seconds: number): Promise<Offered> {
  const runs = Math.floor((TASKS_PER_S * seconds) / (WIDTH + 2));
  const began = performance.now();
  const triggers: Promise<string>[] = [];
  for (let n = 0; n < runs; n++) {
    const due = began + (n * 1_000 * (WIDTH + 2)) / TASKS_PER_S;
    if (due > performance.now()) await delay(due - performance.now());
    triggers.push(system.trigger("fan-98"));
  }
  await Promise.all(triggers);
  await system.drained();
  const taken = (performance.now() - began) / 1_000;
  const tasks = runs * (WIDTH + 2);
  const { rows } = await system.pool.query<{ dead: number }>(
    "select sum(n_dead_tup)::int as dead from pg_stat_user_tables where schemaname in ('sluice', 'sluice_boss')",
  );
  return { rate: tasks / taken, deadPerTask: rows[0]!.dead / tasks };
}

async function withPinnedSnapshot<T>({ system }: MeasureContext, work: () => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: system.url });
  await client.connect();
  await client.query(WITHOUT_LIMITS);
  try {
    await client.query("begin isolation level repeatable read");
    await client.query("select count(*) from sluice.dag_run");
    return await work();
  } finally {
    await client.end();
  }
}

async function withReports<T>({ system }: MeasureContext, work: () => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const report = async (): Promise<void> => {
    const client = new pg.Client({ connectionString: system.url });
    await client.connect();
    await client.query(WITHOUT_LIMITS);
    while (!stop.signal.aborted) {
      await client.query("select state, count(*), max(ended_at) from sluice.attempt group by 1");
      await delay(1_000, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    await client.end();
  };
  const reports = Array.from({ length: 3 }, report);
  try {
    return await work();
  } finally {
    stop.abort();
    await Promise.all(reports);
  }
}
