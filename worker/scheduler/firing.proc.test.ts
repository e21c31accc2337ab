import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { killProcess, startScheduler as start } from "#lib/testing/scheduler-process.ts";
import { droppedRuns, forgetSchedules, scheduledRuns } from "#lib/testing/schedules.ts";

const database = testDatabase();
const LOOK_AGAIN_MS = 20;

let dagsDir: string;
let schedulers: ChildProcess[];

beforeEach(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-firing-"));
  schedulers = [];
  await forgetSchedules(database.deps);
});

afterEach(async () => {
  await Promise.all(schedulers.map(killProcess));
  await rm(dagsDir, { recursive: true });
});

async function startScheduler(): Promise<ChildProcess> {
  const child = await start({ databaseUrl: database.url, dagsDir });
  schedulers.push(child);
  return child;
}

const define = (id: string, fields: object): Promise<void> =>
  writeFile(
    path.join(dagsDir, `${id}.yaml`),
    JSON.stringify({ id, limits: { maxActiveRuns: 100_000 }, tasks: [{ id: "only", noop: {} }], ...fields }),
  );

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(LOOK_AGAIN_MS);
}

const runsOf = async (dagId: string): Promise<number> => (await scheduledRuns(database.deps, dagId)).length;

describe("two schedulers", () => {
  test("of which one is killed again and again: no run is late, missing or doubled", async () => {
    await define("seconds", { schedule: { every: "1s" }, catchup: "none" });
    const pair = [await startScheduler(), await startScheduler()];
    for (let n = 0; n < 4; n++) {
      const seen = await runsOf("seconds");
      await until(async () => (await runsOf("seconds")) > seen);
      await killProcess(pair[n % 2]!);
      pair[n % 2] = await startScheduler();
    }
    const { rows } = await database.pool.query<{ late: number; runs: number; seconds: number }>(
      `select max(extract(epoch from created_at - interval_end))::float8 as late, count(*)::int as runs,
              extract(epoch from max(interval_end) - min(interval_end))::int + 1 as seconds
         from sluice.dag_run where dag_id = 'seconds'`,
    );
    const { late, runs, seconds } = rows[0]!;
    expect(runs).toBe(seconds);
    expect(late).toBeLessThan(2);
    expect(await droppedRuns(database.deps, "seconds")).toEqual([]);
  });

  test("that are both killed for an hour: each DAG's catch-up policy is obeyed to the run", async () => {
    for (const catchup of ["none", "latest", "all"])
      await define(`hour-${catchup}`, { schedule: "* * * * *", catchup });
    await define("hour-some", { schedule: "* * * * *", catchup: { policy: "all", max: 7 } });
    const pair = [await startScheduler(), await startScheduler()];
    await until(() => isSettled("0"));
    const begin = await position();
    await Promise.all(pair.map(killProcess));
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`alter database ${name} set sluice.clock_offset = '1 hour'`);
    try {
      await startScheduler();
      await startScheduler();
      await until(() => isSettled("1 hour"));
      const end = await position();
      const all = (end.getTime() - Math.floor(begin.getTime() / 60_000) * 60_000) / 60_000;
      expect(all).toBeGreaterThanOrEqual(60);
      expect(await outcome("hour-none")).toEqual({ runs: 1, dropped: all - 1 });
      expect(await outcome("hour-latest")).toEqual({ runs: 1, dropped: all - 1 });
      expect(await outcome("hour-all")).toEqual({ runs: all, dropped: 0 });
      expect(await outcome("hour-some")).toEqual({ runs: 7, dropped: all - 7 });
    } finally {
      await database.pool.query(`alter database ${name} reset sluice.clock_offset`);
    }
  });
});

/** Every schedule has been looked at, and waits for its next instant; the schedulers' clock is `ahead` of this one. */
async function isSettled(ahead: string): Promise<boolean> {
  const { rows } = await database.pool.query<{ settled: boolean }>(
    `select count(*) = 4 and bool_and(next_due is not null and next_at = next_due and next_at > now() + $1::interval) as settled
       from sluice.schedule`,
    [ahead],
  );
  return rows[0]!.settled;
}

/** Up to where everything due is done with; the same for all schedules of the test. */
async function position(): Promise<Date> {
  const { rows } = await database.pool.query<{ position: Date }>(
    "select min(position) as position from sluice.schedule",
  );
  return rows[0]!.position;
}

/** Every run once, by the instant at which it was due. */
async function outcome(dagId: string): Promise<{ runs: number; dropped: number }> {
  const runs = await scheduledRuns(database.deps, dagId);
  expect(new Set(runs.map(({ end }) => end.getTime())).size).toBe(runs.length);
  const dropped = await droppedRuns(database.deps, dagId);
  return { runs: runs.length, dropped: dropped.reduce((sum, one) => sum + one.runs, 0) };
}
