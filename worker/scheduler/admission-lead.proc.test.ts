import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LIMIT_CHECKS } from "#lib/db/limit-invariants.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { createEngineDeps, type EngineDeps } from "#lib/engine/deps.ts";
import { announceRequest } from "#lib/engine/lead-admission.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { start, worker } from "#lib/testing/engine.ts";
import { freePort, killProcess, startScheduler } from "#lib/testing/scheduler-process.ts";

const database = testDatabase();
const LOOK_AGAIN_MS = 50;
const POOL = 3;

type Scheduler = { child: ChildProcess; port: number };

let dagsDir: string;
let deps: EngineDeps;
const schedulers: Scheduler[] = [];

beforeAll(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-lead-"));
  deps = createEngineDeps({ ...database.deps, requestPass: announceRequest });
  const tasks = Array.from({ length: 40 }, (_, n) => ({
    id: `t${n}`,
    bash: "true",
    pool: "p",
  }));
  await writeFile(path.join(dagsDir, "pooled.yaml"), JSON.stringify({ id: "pooled", tasks }));
  await upsertPool(deps.pool, "p", POOL, undefined);
  await worker(deps, "w", 8);
  // It claims nothing: what is admitted stays handed over.
  await deps.pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 day'");
});

afterAll(async () => {
  for (const { child } of schedulers) {
    child.kill("SIGCONT");
    await killProcess(child);
  }
  await rm(dagsDir, { recursive: true });
});

async function another(): Promise<Scheduler> {
  const port = await freePort();
  const scheduler = {
    child: await startScheduler({ databaseUrl: database.url, dagsDir, healthPort: port }),
    port,
  };
  schedulers.push(scheduler);
  return scheduler;
}

async function until<T>(seen: () => Promise<T>, isSo: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await seen();
    if (isSo(value)) return value;
    await delay(LOOK_AGAIN_MS);
  }
}

/** Who leads now, and for how many milliseconds nobody has. */
async function lead(): Promise<{ holder: string; term: number; vacantMs: number }> {
  const { rows } = await deps.pool.query<{ holder: string; term: number; vacantMs: number }>(
    `select holder, term, greatest(0, extract(epoch from sluice.clock() - until) * 1000)::int as "vacantMs" from sluice.lease`,
  );
  return rows[0] ?? { holder: "", term: 0, vacantMs: 0 };
}

const live = async (): Promise<number> => (await deps.pool.query("select from sluice.live_attempt")).rowCount!;

async function endAll(): Promise<void> {
  await deps.pool.query(
    `with gone as (delete from sluice.live_attempt returning task_instance_id as id)
     update sluice.task_instance t set state = 'success', ended_at = sluice.clock() from gone where t.id = gone.id`,
  );
  await deps.requestAdmission();
}

async function brokenLimits(): Promise<string[]> {
  const broken: string[] = [];
  for (const { id, sql } of LIMIT_CHECKS) {
    const { rowCount } = await deps.pool.query(sql);
    if (rowCount! > 0) broken.push(id);
  }
  return broken;
}

/** How often a scheduler's admission has had its turn. */
async function turns({ port }: Scheduler): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^sluice_duty_runs_total\{duty="admit",outcome="done"\} (\d+)/m.exec(text)?.[1] ?? 0);
}

test("a leader that is killed or stopped is replaced within its lease, and does no harm when it continues", async () => {
  const first = await another();
  const before = await until(lead, ({ term }) => term === 1);
  const second = await another();
  await start(deps, "pooled");
  await until(live, (count) => count === POOL);

  await killProcess(first.child);
  await endAll();
  const after = await until(lead, ({ holder }) => holder !== before.holder);
  expect(after.term).toBe(2);
  await until(live, (count) => count === POOL);
  expect(await brokenLimits()).toEqual([]);

  const third = await another();
  // The lease is renewed each second: this is one that the leader took before it stopped.
  second.child.kill("SIGSTOP");
  await deps.pool.query("update sluice.worker set process_slots = 40");
  await endAll();
  const last = await until(lead, ({ holder }) => holder !== after.holder);
  expect(last.term).toBe(3);
  await until(live, (count) => count === POOL);
  const room = async (): Promise<number[]> =>
    (await deps.pool.query<{ room: number }>("select room from sluice.lane where slot_class = 'process'")).rows.map(
      (row) => row.room,
    );
  await until(room, ([seen]) => seen === 50);

  second.child.kill("SIGCONT");
  const had = await turns(second);
  await until(
    () => turns(second),
    (count) => count > had + 1,
  );
  expect(await lead()).toMatchObject({ holder: last.holder, term: 3, vacantMs: 0 });
  expect(await room()).toEqual([50]);
  expect(await live()).toBe(POOL);
  expect(await brokenLimits()).toEqual([]);
  await endAll();
  await until(live, (count) => count === POOL);
  expect([second, third].map(({ child }) => child.exitCode)).toEqual([null, null]);
});
