import { randomUUID } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { PgBoss } from "pg-boss";
import type pg from "pg";
import { type Figure, figureOf } from "./report.ts";
import type { System } from "./system.ts";

/** What the machine and its Postgres give without Sluice, measured beside every figure. */
export type Limits = { pgBossPerS: number; commitMs: number };

const JOBS = 10_000;
const BATCH = 100;
const LOOPS = 4;
const COMMITS = 500;
const SPAWNS = 200;

export async function measureLimits({ pool }: System, say: (figure: Figure) => void): Promise<Limits> {
  const told = (figure: Figure): number => {
    say(figure);
    return figure.figure;
  };
  const commits = await commitTimes(pool);
  const commitMs = told(figureOf({ id: "limit.commit.one-connection", kind: "limit", unit: "ms", runs: commits }));
  const pgBoss = [await pgBossRate(pool), await pgBossRate(pool), await pgBossRate(pool)];
  const pgBossPerS = told(figureOf({ id: "limit.pg-boss.batch-100", kind: "limit", unit: "jobs/s", runs: pgBoss }));
  const spawns = [await spawnRate(), await spawnRate(), await spawnRate()];
  told(figureOf({ id: "limit.spawn.width-4", kind: "limit", unit: "processes/s", runs: spawns }));
  return { pgBossPerS, commitMs };
}

/** Jobs a second through pg-boss alone: fetched in hundreds and completed, by four loops at once. */
export async function pgBossRate(pool: pg.Pool): Promise<number> {
  const boss = new PgBoss({
    db: { executeSql: async (text, values) => pool.query(text, values) },
    schema: "sluice_boss",
    migrate: false,
    supervise: false,
    schedule: false,
    registerInstance: false,
  });
  await boss.start();
  const queue = `bench-${randomUUID()}`;
  await boss.createQueue(queue);
  for (let n = 0; n < JOBS; n += 1_000) {
    await boss.insert(
      queue,
      Array.from({ length: 1_000 }, () => ({ data: {} })),
    );
  }
  const started = performance.now();
  const loop = async (): Promise<void> => {
    for (;;) {
      const jobs = await boss.fetch(queue, { batchSize: BATCH });
      if (jobs.length === 0) return;
      await boss.complete(
        queue,
        jobs.map((job) => job.id),
      );
    }
  };
  await Promise.all(Array.from({ length: LOOPS }, loop));
  const seconds = (performance.now() - started) / 1_000;
  await boss.deleteQueue(queue);
  await boss.stop({ graceful: false });
  return JOBS / seconds;
}

/** Milliseconds of single-row inserts, each its own commit, one after the other on one connection. */
async function commitTimes(pool: pg.Pool): Promise<number[]> {
  const client = await pool.connect();
  try {
    await client.query(
      "create table if not exists public.bench_commit (id bigint generated always as identity, at timestamptz default now())",
    );
    const times: number[] = [];
    for (let n = 0; n < COMMITS; n++) {
      const started = performance.now();
      await client.query({ name: "bench-commit", text: "insert into public.bench_commit default values" });
      times.push(performance.now() - started);
    }
    return times;
  } finally {
    client.release();
  }
}

/** Processes a second: `sh -c true`, four at a time, from this process. */
async function spawnRate(): Promise<number> {
  let left = SPAWNS;
  const started = performance.now();
  const loop = async (): Promise<void> => {
    while (left-- > 0) await once(spawn("sh", ["-c", "true"], { stdio: "ignore" }), "exit");
  };
  await Promise.all(Array.from({ length: 4 }, loop));
  return SPAWNS / ((performance.now() - started) / 1_000);
}
