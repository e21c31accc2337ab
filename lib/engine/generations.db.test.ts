import { beforeEach, describe, expect, test } from "vitest";
import { enterGenerations, openGeneration } from "#lib/db/generations.ts";
import { unadmitAbandoned } from "#lib/db/unadmit.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, states, success, worker } from "#lib/testing/engine.ts";
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
 * Where a row that is waited for was changed meanwhile, Postgres looks at it again; after that, a lock that names its rows by a join
 * loses those in other partitions (seen with Postgres 18.4). So each names them by an array, and none may lose a row here.
 */
async function whileChanged(ord: bigint, work: () => Promise<unknown>): Promise<void> {
  const change = "update sluice.task_instance set lost_attempts = lost_attempts where id = $1";
  const other = await held(database.deps, (tx) => tx.query(change, [(BigInt(runs[0]!) << 20n) | ord]));
  const working = work();
  await waitsForLock(database.deps);
  await other.commit();
  await working;
}

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

  test("a claim and a finish", async () => {
    const { deps } = database;
    const claimed: Awaited<ReturnType<typeof claimAll>> = [];
    await whileChanged(0n, async () => claimed.push(...(await claimAll(deps, { id: "w", epoch: "1" }))));
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
