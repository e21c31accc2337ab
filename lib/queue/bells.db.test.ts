import { beforeEach, expect, test } from "vitest";
import { createEngineDeps, type EngineDeps } from "#lib/engine/deps.ts";
import { sweep } from "#lib/engine/sweep.ts";
import { createNotifier } from "#lib/db/notify.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { laneName, lanesOf, ownName } from "#lib/domain/lanes.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, liveAttempts, moveClock, publish, start, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { createJobQueue } from "./job-queue.ts";

const database = testDatabase();
const LANE = "default.process";
const ALL = [...lanesOf(["default"]).map(laneName), ownName("w")];

beforeEach(() => forgetRuns(database.deps));

async function jobs(): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>("select count(*)::int as n from sluice_boss.job");
  return rows[0]!.n;
}

async function ring(name: string, delayMs?: number): Promise<void> {
  const { bells } = database.deps.queue;
  bells.ring([name], delayMs);
  await bells.flush();
}

/** Another process on the same database. */
async function anotherProcess(): Promise<EngineDeps> {
  const fail = (error: unknown): never => {
    throw error;
  };
  const queue = createJobQueue(database.pool, fail);
  await queue.start();
  const notifier = createNotifier(database.pool, queue.bells, fail);
  return createEngineDeps({ ...database.deps, queue, notifier });
}

test("a bell is one job however often it is rung, and silent once it was fetched", async () => {
  const { bells } = database.deps.queue;
  for (let n = 0; n < 5; n++) {
    await ring(LANE);
    await ring(ownName("w"));
  }
  expect(await jobs()).toBe(2);
  expect((await bells.fetch(ALL)).toSorted()).toEqual([ownName("w"), LANE].toSorted());
  expect([await bells.fetch(ALL), await jobs()]).toEqual([[], 0]);
});

test("only what is asked for is silenced, and what has no bell is not rung", async () => {
  const { bells } = database.deps.queue;
  await ring(LANE);
  await ring("*fenced");
  expect(await bells.fetch(["default.inline"])).toEqual([]);
  expect(await bells.fetch(ALL)).toEqual([LANE]);
});

test("a bell whose queue another process has removed is made again", async () => {
  const { bells } = database.deps.queue;
  await ring(ownName("gone"));
  await bells.fetch([ownName("gone")]);
  const other = await anotherProcess();
  await other.queue.bells.removeOrphans(() => Promise.resolve(["w"]));
  await ring(ownName("gone"));
  expect(await bells.fetch([ownName("gone")])).toEqual([ownName("gone")]);
  await other.queue.stop();
});

test("a worker's bell that cannot be removed is reported, and the others go", async () => {
  const { pool } = database;
  const errors: unknown[] = [];
  const queue = createJobQueue(pool, (error) => errors.push(error));
  await queue.start();
  for (const id of ["one", "three", "two"]) await ring(ownName(id));
  // A job of another queue that names the first one as its dead letter holds it.
  await pool.query(
    "insert into sluice_boss.job (name, dead_letter) values ('bell/worker/two', 'bell/worker/one'), ('callbacks', 'bell/worker/one')",
  );
  await queue.bells.removeOrphans(() => Promise.resolve([]));
  const left = "select name from sluice_boss.queue where name like 'bell/worker/%'";
  expect((await pool.query(left)).rows).toEqual([{ name: "bell/worker/one" }]);
  expect(errors.map(String)).toEqual([expect.stringContaining("bell/worker/one was not deleted")]);
  await pool.query("delete from sluice_boss.job where dead_letter is not null");
  await queue.bells.removeOrphans(() => Promise.resolve([]));
  expect((await pool.query(left)).rows).toEqual([]);
  await queue.stop();
});

test("a bell that is to ring later is not heard before", async () => {
  await ring(LANE, 3_600_000);
  expect([await database.deps.queue.bells.fetch(ALL), await jobs()]).toEqual([[], 1]);
});

test("of two that fetch a bell at once, one hears it and none waits", async () => {
  const { bells } = database.deps.queue;
  await ring(LANE);
  const [one, two] = await Promise.all([bells.fetch(ALL), (await anotherProcess()).queue.bells.fetch(ALL)]);
  expect([...one, ...two]).toEqual([LANE]);
});

/** Silences the bell as a fetch does. */
const silence = "delete from sluice_boss.job where name = 'bell/default.process'";

test("a ring that comes while the bell is being fetched waits for the fetch, and rings after it", async () => {
  const { deps } = database;
  await ring(LANE);
  const fetching = await held(deps, (tx) => tx.query(silence));
  const rung = ring(LANE);
  await waitsForLock(deps);
  await fetching.commit();
  await rung;
  // Whatever was committed before this ring is in the snapshot of a claim after this fetch.
  expect(await deps.queue.bells.fetch(ALL)).toEqual([LANE]);
});

test("a fetch that does not commit, because its process is killed, leaves the bell ringing", async () => {
  const { deps } = database;
  await ring(LANE);
  const fetching = await held(deps, (tx) => tx.query(silence));
  expect(await deps.queue.bells.fetch(ALL)).toEqual([]);
  await fetching.tx.query("rollback");
  expect(await deps.queue.bells.fetch(ALL)).toEqual([LANE]);
});

test("what is admitted rings its lane's bell, and what one worker must take that worker's", async () => {
  const { deps } = database;
  await publish(deps, "plain", { a: [] });
  await worker(deps, "w");
  await start(deps, "plain");
  await deps.notifier.flush();
  expect(await deps.queue.bells.fetch(ALL)).toEqual([LANE]);
});

test("1,000 sweeps by ten schedulers over a saturated lane leave no more jobs than there are bells", async () => {
  const { deps, pool } = database;
  await publish(deps, "wide", Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`t${n}`, []])));
  const w = await worker(deps, "w", 4);
  await start(deps, "wide");
  const running = await claimSome(deps, w, 4);
  expect(running).toHaveLength(4);
  const before = await liveAttempts(deps);
  expect(before).toContain("queued");
  // What waits has waited for long.
  await moveClock(deps, "20 minutes");
  await renewLeases(pool, w, running, LEASE_MS);
  const schedulers = await Promise.all(Array.from({ length: 10 }, anotherProcess));
  await Promise.all(
    schedulers.map(async (scheduler) => {
      for (let n = 0; n < 100; n++) await sweep(scheduler);
      await scheduler.notifier.flush();
    }),
  );
  expect(await jobs()).toBeLessThanOrEqual(ALL.length);
  expect(await liveAttempts(deps)).toEqual(before);
  // And each of them is claimed once.
  const queued = before.filter((state) => state === "queued").length;
  expect(await claimSome(deps, w, queued)).toHaveLength(queued);
  expect(await liveAttempts(deps)).not.toContain("queued");
}, 120_000);
