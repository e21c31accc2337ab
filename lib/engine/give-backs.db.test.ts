import { beforeEach, describe, expect, test } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { lockRun } from "#lib/db/run-states.ts";
import { setWorkerState, upsertWorker } from "#lib/db/workers.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, registration, start, worker } from "#lib/testing/engine.ts";
import { type Held, held, waitsForLock } from "#lib/testing/races.ts";
import { LEASE_MS } from "./lease.ts";
import {
  handBack,
  handBackUnbegun,
  handBackUnheard,
  sweep,
  takeBackExpired,
  takeOverFromPredecessors,
} from "./sweep.ts";

/** Attempts that a worker gives back while another transaction has their locks. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

/** A run of so many independent tasks, all of them running on the worker `w`. */
async function running(tasks: number): Promise<{ w: WorkerRef; runId: string; tokens: string[] }> {
  const { deps } = database;
  const names = Array.from({ length: tasks }, (_, at) => `t${at}`);
  await publish(deps, `of-${tasks}`, Object.fromEntries(names.map((name) => [name, []])));
  const w = await worker(deps, "w", tasks);
  const runId = await start(deps, `of-${tasks}`);
  const claimed = await claimAll(deps, w);
  expect(claimed).toHaveLength(tasks);
  // So that nothing is admitted and claimed again meanwhile.
  await setWorkerState(deps.pool, w, "draining");
  return { w, runId, tokens: claimed.map(({ token }) => token) };
}

/** How many attempts ended for which reason, and how many lost workers their tasks count. */
async function ended(): Promise<{ reasons: Record<string, number>; lost: number; running: number }> {
  const { rows } = await database.pool.query<{ reason: string; n: number }>(
    "select reason, count(*)::int as n from sluice.attempt group by 1 order by 1",
  );
  const [counts] = (
    await database.pool.query<{ lost: number; running: number }>(
      `select (select coalesce(sum(lost_attempts), 0)::int from sluice.task_instance) as lost,
              (select count(*)::int from sluice.live_attempt where state = 'running') as running`,
    )
  ).rows;
  return { reasons: Object.fromEntries(rows.map(({ reason, n }) => [reason, n])), ...counts! };
}

const lockOneTask = (): Promise<Held<unknown>> =>
  held(database.deps, (tx) =>
    tx.query("select from sluice.task_instance where id = (select min(id) from sluice.task_instance) for update"),
  );

const OWN = [
  { reason: "DRAINED", counts: 0, give: (w: WorkerRef) => handBack(database.deps, w) },
  {
    reason: "REPLY_LOST",
    counts: 0,
    give: (w: WorkerRef, tokens: string[]) => handBackUnheard(database.deps, w, tokens),
  },
  {
    reason: "NOT_BEGUN",
    counts: 0,
    give: (w: WorkerRef, tokens: string[]) => handBackUnbegun(database.deps, w, tokens),
  },
  {
    reason: "WORKER_RESTARTED",
    counts: 1,
    give: async () => {
      const reborn = await upsertWorker(database.pool, registration("w"), LEASE_MS);
      await setWorkerState(database.pool, reborn, "draining");
      await takeOverFromPredecessors(database.deps, reborn);
    },
  },
];

describe.each(OWN)("what is given back as $reason", ({ reason, counts, give }) => {
  test("waits for the lock of a task", async () => {
    const { w, tokens } = await running(3);
    const lock = await lockOneTask();
    const given = give(w, tokens);
    await waitsForLock(database.deps);
    await lock.commit();
    await given;
    expect(await ended()).toEqual({ reasons: { [reason]: 3 }, lost: 3 * counts, running: 0 });
  });

  test("waits for the lock of the run", async () => {
    const { w, runId, tokens } = await running(3);
    const lock = await held(database.deps, (tx) => lockRun(tx, runId));
    const given = give(w, tokens);
    await waitsForLock(database.deps);
    await lock.commit();
    await given;
    expect(await ended()).toEqual({ reasons: { [reason]: 3 }, lost: 3 * counts, running: 0 });
  });

  test("is all of it, however many batches that takes", async () => {
    const { w, tokens } = await running(450);
    await give(w, tokens);
    expect(await ended()).toEqual({ reasons: { [reason]: 450 }, lost: 450 * counts, running: 0 });
  });
});

test("a lease does not run out while its worker waits to give the attempt back", async () => {
  const { deps, pool } = database;
  const { w, tokens } = await running(2);
  const lock = await lockOneTask();
  await pool.query("update sluice.live_attempt set lease_until = sluice.clock() + interval '1 s'");
  const given = handBackUnbegun(deps, w, tokens);
  // After its first lock timeout the worker has extended the lease of the other task, which nobody else holds.
  await expect
    .poll(
      async () =>
        (
          await pool.query(
            "select from sluice.live_attempt where lease_until > sluice.clock() + interval '20 s' limit 1",
          )
        ).rowCount,
      { timeout: 30_000, interval: 100 },
    )
    .toBe(1);
  await takeBackExpired(deps, 0);
  await lock.commit();
  await given;
  expect(await ended()).toEqual({ reasons: { NOT_BEGUN: 2 }, lost: 0, running: 0 });
});

describe("the sweep", () => {
  test("takes back all in one pass, also behind a batch of which a lock keeps every attempt", async () => {
    const { deps, pool } = database;
    await publish(deps, "half", Object.fromEntries(Array.from({ length: 250 }, (_, at) => [`t${at}`, []])));
    const w = await worker(deps, "w", 500);
    const first = await start(deps, "half");
    await start(deps, "half");
    expect(await claimAll(deps, w)).toHaveLength(500);
    await setWorkerState(pool, w, "draining");
    await pool.query("update sluice.live_attempt set lease_until = sluice.clock() - interval '1 s'");
    const run = await held(deps, (tx) => lockRun(tx, first));
    await takeBackExpired(deps, 0);
    expect(await ended()).toMatchObject({ reasons: { LEASE_EXPIRED: 250 }, running: 250 });
    await run.commit();
    await takeBackExpired(deps, 0);
    expect(await ended()).toMatchObject({ reasons: { LEASE_EXPIRED: 500 }, running: 0 });
  });

  test("passes over a run and a task that others hold, and takes the rest", async () => {
    const { deps, pool } = database;
    await running(3);
    await publish(deps, "held", { a: [] });
    const w = await worker(deps, "v");
    const heldRun = await start(deps, "held");
    await claimAll(deps, w);
    await pool.query("update sluice.live_attempt set lease_until = sluice.clock() - interval '1 s'");
    const task = await lockOneTask();
    const run = await held(deps, (tx) => lockRun(tx, heldRun));
    await setWorkerState(pool, w, "draining");
    await takeBackExpired(deps, 0);
    expect(await ended()).toEqual({ reasons: { LEASE_EXPIRED: 2 }, lost: 2, running: 2 });
    await task.commit();
    await run.commit();
    await takeBackExpired(deps, 0);
    expect(await ended()).toEqual({ reasons: { LEASE_EXPIRED: 4 }, lost: 4, running: 0 });
  });

  test("gives back what a stopped worker could not, at once and without counting it as lost", async () => {
    const { deps, pool } = database;
    const { w } = await running(2);
    await sweep(deps);
    expect((await ended()).running).toBe(2);
    await setWorkerState(pool, w, "stopped");
    const lock = await lockOneTask();
    await sweep(deps);
    expect(await ended()).toEqual({ reasons: { DRAINED: 1 }, lost: 0, running: 1 });
    await lock.commit();
    await sweep(deps);
    expect(await ended()).toEqual({ reasons: { DRAINED: 2 }, lost: 0, running: 0 });
  });
});
