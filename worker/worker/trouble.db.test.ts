import { beforeEach, expect, test } from "vitest";
import { listWorkers } from "#lib/db/worker-reads.ts";
import { setWorkerState, setWorkerTrouble } from "#lib/db/workers.ts";
import type { CallResult } from "#lib/executors/executor.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, runState, start, states, worker } from "#lib/testing/engine.ts";
import { workerLoops } from "#lib/testing/worker-loops.ts";

const database = testDatabase();
const { work, until, ended, publish } = workerLoops(database);

beforeEach(() => forgetRuns(database.deps));

type Row = { state: string; trouble: string | null; isSince: boolean };

async function row(): Promise<Row> {
  const { rows } = await database.pool.query<Row>(
    `select state, trouble, trouble_since is not null as "isSince" from sluice.worker where id = 'w'`,
  );
  return rows[0]!;
}

test("a worker that cannot start tasks claims none, says why, lets what runs go on, and comes back", async () => {
  const { deps, pool } = database;
  await publish("trouble", 6, { dependsOn: [] });
  const first = Promise.withResolvers<CallResult>();
  let trouble: string | undefined;
  let called = 0;
  let asked = 0;
  await work("w", () => (++called <= 2 ? first.promise : Promise.resolve({ ok: true, value: null })), {
    trouble: () => (asked++, trouble),
  });
  const runId = await start(deps, "trouble");
  await until(() => Promise.resolve(called === 2));
  trouble = "thread pool: it has not come back for 10 s";
  await until(async () => (await row()).trouble !== null);
  expect(await row()).toEqual({ state: "draining", trouble, isSince: true });
  first.resolve({ ok: true, value: null });
  const succeeded = async (): Promise<number> =>
    Object.values(await states(deps, runId)).filter((state) => state === "success").length;
  await until(async () => (await succeeded()) === 2);
  // Ten times, each of which could be a claim.
  const askedBefore = asked;
  await until(() => Promise.resolve(asked >= askedBefore + 10));
  expect(called).toBe(2);
  trouble = undefined;
  await until(ended(runId));
  expect(await runState(deps, runId)).toBe("success");
  expect(await row()).toEqual({ state: "active", trouble: null, isSince: false });
  const { rows } = await pool.query("select max(lost_attempts)::int as lost from sluice.task_instance");
  expect(rows).toEqual([{ lost: 0 }]);
});

test("a worker that stops stays stopped, whatever was on its way to say of its trouble", async () => {
  const { deps, pool } = database;
  const ref = await worker(deps, "w");
  await setWorkerTrouble(pool, ref, "disk: full");
  await setWorkerTrouble(pool, ref, "disk: fuller");
  expect(await row()).toEqual({ state: "draining", trouble: "disk: fuller", isSince: true });
  await setWorkerState(pool, ref, "draining");
  for (const late of [null, "disk: full"]) {
    await setWorkerTrouble(pool, ref, late);
    expect(await row()).toEqual({ state: "draining", trouble: null, isSince: false });
  }
});

test("the workers are listed with their state, those in trouble first", async () => {
  const { deps, pool } = database;
  for (const name of ["a", "b", "c", "d", "w"]) await worker(deps, name);
  const epochs = await pool.query<{ id: string; epoch: string }>("select id, epoch from sluice.worker order by id");
  const [, b, c, , w] = epochs.rows;
  await setWorkerState(pool, b!, "stopped");
  await setWorkerState(pool, c!, "draining");
  await pool.query("update sluice.worker set lease_until = sluice.clock() - interval '1 s' where id = 'd'");
  await setWorkerTrouble(pool, w!, "disk: full");
  const seen = (await listWorkers(pool)).map(({ id, state, trouble, running }) => [id, state, trouble, running]);
  expect(seen).toEqual([
    ["w", "trouble", "disk: full", 0],
    ["a", "active", null, 0],
    ["c", "draining", null, 0],
    ["b", "stopped", null, 0],
    ["d", "gone", null, 0],
  ]);
});
