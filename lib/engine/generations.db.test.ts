import { beforeEach, describe, expect, test } from "vitest";
import { enterGenerations, openGeneration } from "#lib/db/generations.ts";
import { checkInvariants } from "#lib/db/invariants.ts";
import { inTx } from "#lib/db/tx.ts";
import { unadmitAbandoned } from "#lib/db/unadmit.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, runState, start, states, success, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { finish } from "./finish.ts";
import { pauseDag, unpauseDag } from "./pause.ts";
import { cancelRun } from "./run-actions.ts";

const database = testDatabase();

/** Two runs of one DAG in two generations, with all of their first tasks handed over. */
let runs: string[];

beforeEach(async () => {
  const { deps, pool } = database;
  await forgetRuns(deps);
  await publish(deps, "spans", { a: [], b: [], c: ["a", "b"] });
  await worker(deps, "w");
  runs = [await start(deps, "spans")];
  await openGeneration(pool, 30);
  await enterGenerations(pool);
  runs.push(await start(deps, "spans"));
});

const allStates = async (): Promise<string[][]> => Promise.all(runs.map((id) => states(database.deps, id)));

/**
 * Where a row that is waited for was changed meanwhile, Postgres evaluates the statement's conditions for it again; after that, a lock
 * that names its rows by a join with a partitioned table loses those of other partitions (seen with Postgres 18.4). The tables that are
 * locked are plain, and none of these statements may lose a row.
 */
async function whileChanged(ord: bigint, work: () => Promise<unknown>): Promise<void> {
  const change = "update sluice.task_instance set lost_attempts = lost_attempts where id = $1";
  const other = await held(database.deps, (tx) => tx.query(change, [(BigInt(runs[0]!) << 20n) | ord]));
  const working = work();
  await waitsForLock(database.deps);
  await other.commit();
  await working;
}

test("finishers of tasks of two generations, side by side, end all of them", async () => {
  const { deps, pool } = database;
  await publish(deps, "wide", Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`t${n}`, []])));
  const w = await worker(deps, "wide", 1_000);
  const wide = [await start(deps, "wide")];
  await openGeneration(pool, 30);
  await enterGenerations(pool);
  wide.push(await start(deps, "wide"));
  const claimed = (await claimAll(deps, w)).filter(({ runId }) => wide.includes(runId));
  expect(claimed).toHaveLength(800);
  const [first, second] = wide.map((id) => claimed.filter(({ runId }) => runId === id)) as [
    typeof claimed,
    typeof claimed,
  ];
  // Each batch has tasks of both runs, so that each waits for the others at both runs' progress.
  const batches = Array.from({ length: 100 }, (_, n) => [
    ...first.slice(4 * n, 4 * n + 4),
    ...second.slice(4 * n, 4 * n + 4),
  ]);
  await Promise.all(
    Array.from({ length: 7 }, async () => {
      for (let batch = batches.pop(); batch !== undefined; batch = batches.pop())
        await finish(deps, batch.map(success), "worker:wide");
    }),
  );
  expect([await runState(deps, wide[0]!), await runState(deps, wide[1]!)]).toEqual(["success", "success"]);
  expect((await inTx(pool, checkInvariants)).filter(({ broken }) => broken.length > 0)).toEqual([]);
});

describe("what waits for a row that was changed loses none of another generation", () => {
  test("a pause", async () => {
    const { deps } = database;
    expect(await allStates()).toEqual([
      ["queued", "queued", "waiting"],
      ["queued", "queued", "waiting"],
    ]);
    await whileChanged(0n, () => pauseDag(deps, "spans", "anna"));
    expect(await allStates()).toEqual([
      ["ready", "ready", "waiting"],
      ["ready", "ready", "waiting"],
    ]);
    const { rows } = await database.pool.query("select distinct held from sluice.task_instance");
    expect(rows).toEqual([{ held: true }]);
    await unpauseDag(deps, "spans");
  });

  test("taking back what nobody can take", async () => {
    await database.pool.query("update sluice.worker set state = 'stopped'");
    await whileChanged(0n, () => unadmitAbandoned(database.pool));
    expect(await allStates()).toEqual([
      ["ready", "ready", "waiting"],
      ["ready", "ready", "waiting"],
    ]);
  });

  test("a finish", async () => {
    const { deps } = database;
    const claimed = await claimAll(deps, { id: "w", epoch: "1" });
    expect(await allStates()).toEqual([
      ["running", "running", "waiting"],
      ["running", "running", "waiting"],
    ]);
    await whileChanged(2n, () => finish(deps, claimed.map(success), "worker:w"));
    expect(await allStates()).toEqual([
      ["success", "success", "queued"],
      ["success", "success", "queued"],
    ]);
    for (const id of runs) await cancelRun(deps, id, { actor: "anna" });
  });
});
