import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { chain, fan } from "../dags.ts";
import { type Figure, figureOf } from "../report.ts";
import { startSystem, type System } from "../system.ts";

/** What one task costs the database. On a Postgres of its own that logs its statements and writes no page images. */
export async function cost(): Promise<Figure[]> {
  const system = await startSystem({ settings: { full_page_writes: "off", log_statement: "all" } });
  try {
    await system.addDag("cost-wide", fan("cost-wide", 5_000));
    await system.addDag("cost-chain", chain("cost-chain", 2_000));
    return [
      ...(await costOf(system, "wide", 5_002, { transactions: 0.15, statements: 0.4, wal: 3.5 })),
      ...(await costOf(system, "chain", 2_000, { transactions: 1.2, statements: 2, wal: 1.5 })),
      ...(await idleCost(system)),
    ];
  } finally {
    await system.stop();
  }
}

type Counters = { transactions: number; walKb: number; statements: number; atMs: number };

async function costOf(
  system: System,
  shape: string,
  tasks: number,
  most: { transactions: number; statements: number; wal: number },
): Promise<Figure[]> {
  await once(system, `cost-${shape}`);
  const before = await counters(system);
  await once(system, `cost-${shape}`);
  const after = await counters(system);
  const each = (key: "transactions" | "walKb" | "statements"): number[] => [(after[key] - before[key]) / tasks];
  const id = `cost.${shape}`;
  return [
    figureOf({
      id: `${id}.transactions`,
      kind: "cost",
      unit: "per task",
      runs: each("transactions"),
      target: { atMost: most.transactions },
    }),
    figureOf({
      id: `${id}.statements`,
      kind: "cost",
      unit: "per task",
      runs: each("statements"),
      target: { atMost: most.statements },
    }),
    figureOf({ id: `${id}.wal`, kind: "cost", unit: "KB per task", runs: each("walKb"), target: { atMost: most.wal } }),
  ];
}

/** Statements a second of a scheduler and a worker that have nothing to do. */
async function idleCost(system: System): Promise<Figure[]> {
  const before = await counters(system);
  // Several times the longest of the frequent intervals, which is five seconds.
  await delay(30_000);
  const after = await counters(system);
  const runs = [(after.statements - before.statements) / ((after.atMs - before.atMs) / 1_000) / 2];
  return [figureOf({ id: "cost.idle.statements", kind: "cost", unit: "per s, process", runs, target: { atMost: 5 } })];
}

async function once(system: System, dagId: string): Promise<void> {
  await system.trigger(dagId);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await system.drained();
}

/** Statistics reach the views within a second of a transaction's end. Our own looking is in them, and small. */
async function counters({ pool, postgresLog }: System): Promise<Counters> {
  await delay(1_500);
  const { rows } = await pool.query<{ transactions: number; walKb: number }>(
    `select (select (xact_commit + xact_rollback)::int from pg_stat_database where datname = current_database()) as transactions,
            (pg_current_wal_insert_lsn() - '0/0')::float8 / 1000 as "walKb"`,
  );
  const atMs = performance.now();
  const log = await readFile(postgresLog, "utf8");
  const statements = log.match(/LOG: {2}(?:execute|statement)/g)?.length ?? 0;
  return { ...rows[0]!, statements, atMs };
}
