import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { type Figure, figureOf, percentile } from "../report.ts";
import { startSystem, type System } from "../system.ts";

const KILLS = 100;
const DAGS = 5;

/**
 * Two schedulers, of which one or the other is killed at any moment, a hundred times, while five schedules are due every second:
 * how late runs are, and whether one is missing or doubled.
 */
export async function failover(): Promise<Figure[]> {
  const system = await startSystem();
  try {
    for (let n = 0; n < DAGS; n++)
      await system.addDag(
        `each-second-${n}`,
        `import { dag, noop } from "sluice";
export default dag("each-second-${n}", { schedule: { every: "1s" }, catchup: "all", limits: { maxActiveRuns: 10_000 } }).task("only", noop());`,
      );
    const schedulers = [system.scheduler, await system.startScheduler()];
    await until(async () => (await ledger(system)).runs > 2 * DAGS);
    for (let n = 0; n < KILLS; n++) {
      const index = n % 2;
      await delay(Math.random() * 1_000);
      await killed(schedulers[index]!);
      schedulers[index] = await system.startScheduler();
    }
    const from = (await ledger(system)).runs;
    await until(async () => (await ledger(system)).runs > from + DAGS);
    const { late, missing, doubled } = await ledger(system);
    return [
      figureOf({ id: "failover.late.max", kind: "F", unit: "s", runs: [Math.max(...late)], target: { atMost: 2 } }),
      figureOf({ id: "failover.late.p50", kind: "F", unit: "s", runs: [percentile(late, 50)] }),
      figureOf({ id: "failover.runs", kind: "F", unit: "runs", runs: [late.length] }),
      figureOf({ id: "failover.missing", kind: "F", unit: "runs", runs: [missing], target: { atMost: 0 } }),
      figureOf({ id: "failover.doubled", kind: "F", unit: "runs", runs: [doubled], target: { atMost: 0 } }),
    ];
  } finally {
    await system.stop();
  }
}

async function killed(scheduler: ChildProcess): Promise<void> {
  const exited = once(scheduler, "exit");
  scheduler.kill("SIGKILL");
  await exited;
}

type Ledger = { runs: number; late: number[]; missing: number; doubled: number };

/** From the runs themselves: between its first and its last, a schedule of every second has one for each second. */
async function ledger({ pool }: System): Promise<Ledger> {
  const { rows } = await pool.query<{ late: number[]; seconds: number; distinct: number }>(
    `select array_agg(extract(epoch from created_at - interval_end)::float8) as late,
            extract(epoch from max(interval_end) - min(interval_end))::int + 1 as seconds,
            count(distinct interval_end)::int as distinct
       from sluice.dag_run where trigger_kind = 'schedule' group by dag_id`,
  );
  const late = rows.flatMap((row) => row.late);
  return {
    runs: late.length,
    late,
    missing: rows.reduce((sum, row) => sum + row.seconds - row.distinct, 0),
    doubled: rows.reduce((sum, row) => sum + row.late.length - row.distinct, 0),
  };
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await delay(100);
}
