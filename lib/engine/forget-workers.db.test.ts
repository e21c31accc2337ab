import { beforeEach, expect, test } from "vitest";
import { renewLeases } from "#lib/db/workers.ts";
import type { WorkerRef } from "#lib/db/claims.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, registration, start, success } from "#lib/testing/engine.ts";
import { finish } from "./finish.ts";
import { forgetWorkers, GONE_MS } from "./forget-workers.ts";
import { registerWorker } from "./register-worker.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const anonymous = (id: string): Promise<WorkerRef> =>
  registerWorker(database.deps, { ...registration(id), isAnonymous: true });

async function goneFor(ms: number): Promise<void> {
  await database.pool.query("update sluice.worker set lease_until = sluice.clock() - $1 * interval '1 ms'", [ms]);
}

async function names(): Promise<{ rows: string[]; bells: string[] }> {
  const { rows } = await database.pool.query<{ id: string }>("select id from sluice.worker order by 1");
  const bells = await database.pool.query<{ name: string }>(
    "select name from sluice_boss.queue where name like 'bell/worker/%' order by 1",
  );
  return { rows: rows.map(({ id }) => id), bells: bells.rows.map(({ name }) => name.slice("bell/worker/".length)) };
}

test("an anonymous worker that has gone leaves no row and no bell; one with a name keeps them", async () => {
  const { deps, pool } = database;
  const gone = await anonymous("host-1-abc");
  await registerWorker(deps, registration("named"));
  await goneFor(GONE_MS - 60_000);
  await forgetWorkers(deps);
  expect(await names()).toEqual({ rows: ["host-1-abc", "named"], bells: ["host-1-abc", "named"] });
  await goneFor(GONE_MS + 1);
  await forgetWorkers(deps);
  expect(await names()).toEqual({ rows: ["named"], bells: ["named"] });
  // A process that comes back hears that it is no worker any more.
  expect((await renewLeases(pool, gone, [], 30_000)).workerState).toBeUndefined();
});

test("one with attempts is left until these have been taken back", async () => {
  const { deps } = database;
  await publish(deps, "held", { a: [] });
  const ref = await anonymous("host-2-abc");
  await start(deps, "held");
  const [a] = await claimAll(deps, ref);
  await goneFor(GONE_MS + 1);
  await forgetWorkers(deps);
  expect((await names()).rows).toEqual(["host-2-abc"]);
  await finish(deps, [success(a!)], "worker:host-2-abc");
  await forgetWorkers(deps);
  expect((await names()).rows).toEqual([]);
});

test("more than one statement deletes are all deleted", async () => {
  const { deps, pool } = database;
  await anonymous("host-3-abc");
  await pool.query(
    `insert into sluice.worker select (jsonb_populate_record(w, jsonb_build_object('id', 'w' || n))).*
       from sluice.worker w, generate_series(1, 250) n`,
  );
  await goneFor(GONE_MS + 1);
  await forgetWorkers(deps);
  expect((await names()).rows).toEqual([]);
});
