import { execFile } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { openCgroups } from "#worker/cgroups/open.ts";
import { freePort, killProcess, startScheduler } from "#lib/testing/scheduler-process.ts";

const database = testDatabase();
const SLUICE = path.resolve(import.meta.dirname, "../../cli/sluice.mjs");
const LOOK_AGAIN_MS = 50;

let dagsDir: string;
let port: number;
let scheduler: ChildProcess;

beforeAll(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-duties-"));
  await writeFile(
    path.join(dagsDir, "hourly.yaml"),
    JSON.stringify({ id: "hourly", schedule: "@hourly", tasks: [{ id: "only", noop: {} }] }),
  );
  port = await freePort();
  scheduler = await startScheduler({ databaseUrl: database.url, dagsDir, healthPort: port });
});

afterAll(async () => {
  await killProcess(scheduler);
  await rm(dagsDir, { recursive: true });
});

type Ready = {
  code: number;
  duties: { name: string; ok: boolean }[];
  quarantined: Record<string, number>;
  isolated: object;
};

async function ready(): Promise<Ready> {
  const response = await fetch(`http://127.0.0.1:${port}/ready`);
  return { code: response.status, ...((await response.json()) as Omit<Ready, "code">) };
}

/** What the scheduler has told the database of its duties: errors are for those who may read it. */
async function errors(): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ name: string; error: string | null }>(
    `select d.name, d.error from sluice.scheduler s cross join jsonb_to_recordset(s.duties) d(name text, error text)`,
  );
  return Object.fromEntries(rows.flatMap(({ name, error }) => (error === null ? [] : [[name, error]])));
}

async function metrics(): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(response.headers.get("content-type")).toContain("text/plain");
  return response.text();
}

async function until<T>(look: () => Promise<T>, isSo: (seen: T) => boolean): Promise<T> {
  for (;;) {
    const seen = await look();
    if (isSo(seen)) return seen;
    await delay(LOOK_AGAIN_MS);
  }
}

function doctor(): Promise<{ checks: { id: string; broken: unknown[] }[] }> {
  const env = { ...plainEnv(), DATABASE_URL: database.url };
  return new Promise((resolve) => {
    execFile(process.execPath, [SLUICE, "doctor", "--json"], { env }, (_, stdout) => {
      resolve(JSON.parse(stdout) as { checks: { id: string; broken: unknown[] }[] });
    });
  });
}

const DUTIES = [
  "actions",
  "admit",
  "backfills",
  "callback queue",
  "callbacks",
  "database",
  "database age",
  "expired xcoms",
  "fire schedules",
  "generations",
  "gone workers",
  "load",
  "old history",
  "overdue schedules",
  "presence",
  "retention",
  "runs",
  "session settings",
  "sessions",
  "statistics",
  "sweep",
  "thread pool",
  "unneeded rows",
  "wait spans",
  "wrong passwords",
];

test("a scheduler tells the age of each duty, to probes, to Prometheus and to the doctor", async () => {
  const { code, duties, quarantined, isolated } = await ready();
  expect(code).toBe(200);
  expect(duties.map(({ name }) => name).toSorted()).toEqual(DUTIES);
  // Names only: the port is open to everybody, and an error of the database may say anything.
  expect(duties.filter((duty) => !duty.ok || Object.keys(duty).length > 2)).toEqual([]);
  expect(quarantined).toEqual({});
  // The folder of this test is closed to others, so files are evaluated as the scheduler's own user.
  const probe = openCgroups(`probe-duties-${process.pid}`);
  probe.remove();
  expect(isolated).toEqual({ user: false, limits: probe.none === undefined });
  const text = await until(metrics, (told) =>
    /^sluice_duty_runs_total\{duty="admit",outcome="done"\} [1-9]/m.test(told),
  );
  for (const name of DUTIES)
    expect(text).toMatch(new RegExp(`^sluice_duty_age_seconds\\{duty="${name}"\\} [\\d.]+$`, "m"));
  for (const name of ["database_xid_age", "database_mxid_age", "oldest_snapshot_xids", "oldest_snapshot_age_seconds"])
    expect(text).toMatch(new RegExp(`^sluice_${name} [\\d.]+$`, "m"));
  expect(text).toMatch(/^sluice_duty_duration_seconds_count\{duty="admit"\} [1-9]/m);
  const { checks } = await doctor();
  expect(checks.filter(({ broken }) => broken.length > 0)).toEqual([]);
});

/** Turns of an idle scheduler's duties in a second, of all together: their intervals make it six. */
const MOST_TURNS = 8;

test("no duty of an idle scheduler is done without a pause, nor all together too often", async () => {
  const countsOf = (text: string): Map<string, number> =>
    new Map(
      [...text.matchAll(/^sluice_duty_runs_total\{duty="([^"]+)",outcome="done"\} (\d+)$/gm)].map(
        ([, duty, count]) => [duty!, Number(count)] as const,
      ),
    );
  const turnsOf = (counts: Map<string, number>): number => counts.values().reduce((sum, count) => sum + count, 0);
  const sweeps = (counts: Map<string, number>): number => counts.get("sweep") ?? 0;
  const began = performance.now();
  const first = countsOf(await metrics());
  const counts = countsOf(await until(metrics, (text) => sweeps(countsOf(text)) >= sweeps(first) + 3));
  // Each pause of the sweep is two seconds; the shortest interval of any is one.
  const often = [...counts].filter(([, count]) => count > 10 * sweeps(counts));
  expect(counts.size).toBeGreaterThan(10);
  expect(often).toEqual([]);
  const seconds = (performance.now() - began) / 1_000;
  expect((turnsOf(counts) - turnsOf(first)) / seconds).toBeLessThan(MOST_TURNS);
});

test("a schedule that nobody looks at is an alarm, by the DAG's name", async () => {
  // Whatever the loop does, the row stays as it is.
  await database.pool.query("update sluice.schedule set next_at = sluice.clock() - interval '1 minute'");
  await database.pool.query(`
    create function sluice.stuck() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger stuck before update on sluice.schedule for each row execute function sluice.stuck()`);
  const told = await until(errors, (all) => all["overdue schedules"] !== undefined);
  expect(told["overdue schedules"]).toMatch(/^a schedule is overdue, the longest by \d+ s: that of the DAG "hourly"$/);
  await database.pool.query("drop function sluice.stuck cascade");
  await until(errors, (all) => Object.keys(all).length === 0);
  expect((await ready()).code).toBe(200);
});

test("a database that is away makes it unready and never ends it; it goes on when the database is back", async () => {
  const url = new URL(database.url);
  const name = url.pathname.slice(1);
  url.pathname = "/postgres";
  const server = new pg.Client({ connectionString: url.href });
  await server.connect();
  try {
    await server.query(`alter database ${name} allow_connections false`);
    await server.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
    const away = await until(ready, ({ duties }) => duties.some((duty) => duty.name === "admit" && !duty.ok));
    expect(away.code).toBe(503);
    expect(JSON.stringify(away)).not.toContain("accepting connections");
  } finally {
    await server.query(`alter database ${name} allow_connections true`);
    await server.end();
  }
  await until(ready, ({ code }) => code === 200);
  expect(scheduler.exitCode).toBeNull();
});
