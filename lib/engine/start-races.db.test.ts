import { beforeEach, describe, expect, test } from "vitest";
import { advance } from "#lib/db/backfill/advance.ts";
import { finishRunning } from "#lib/db/finishes.ts";
import { deleteSlice } from "#lib/db/retention.ts";
import { insertAction } from "#lib/db/run-actions.ts";
import { activateRuns, activateRunsOf } from "#lib/db/runs.ts";
import { backfill, forgetBackfills, january, nothingBroken, publishDaily, runsOf } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, moveClock, publish, runState, start, success, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { runExists } from "#lib/testing/retention.ts";
import { carryOutActions, carryOutSlice } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseDag } from "./pause.ts";

/** Who starts or deletes a run may wait for its lock; an action that is committed meanwhile counts. */

const database = testDatabase();
const CLEAR = { kind: "clear", args: {}, actor: "anna", reason: null } as const;

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

/** Does `work`, which comes to wait for these runs, and commits an action on the first of them before the wait is over. */
async function askMeanwhile<T>(runIds: readonly string[], work: () => Promise<T>): Promise<T> {
  const { deps, pool } = database;
  const lock = await held(deps, (tx) =>
    tx.query("select from sluice.dag_run where id = any ($1) for update", [runIds]),
  );
  const working = work();
  await waitsForLock(deps);
  await insertAction(pool, runIds[0]!, { ...CLEAR, kind: "cancel" });
  await lock.commit();
  return working;
}

type Started = { started: string[]; more: boolean | string[] };
const STARTS: Record<string, () => Promise<Started>> = {
  "of one DAG": () => activateRuns(database.pool, "own"),
  "of several DAGs": () => activateRunsOf(database.pool, ["own"]),
};

describe.each(Object.entries(STARTS))("a start %s that waits for a queued run", (_, activate) => {
  test("leaves it when an action was committed meanwhile", async () => {
    const { deps, pool } = database;
    await publish(deps, "own", { a: [] });
    await pauseDag(deps, "own", "anna");
    const runIds = [await start(deps, "own"), await start(deps, "own")];
    await pool.query("update sluice.dag set paused_by = null, max_active_runs = 1 where id = 'own'");
    const { started, more } = await askMeanwhile(runIds.slice(0, 1), activate);
    expect(started).toEqual([]);
    expect(await runState(deps, runIds[0]!)).toBe("queued");
    // The room that it leaves is for the other one.
    expect([more].flat()).toEqual([Array.isArray(more) ? "own" : true]);
    expect((await activate()).started).toEqual([runIds[1]]);
    await carryOutActions(deps);
    expect(await runState(deps, runIds[0]!)).toBe("cancelled");
    await nothingBroken(deps);
  });
});

test.each(["asc", "desc"] as const)("so does the start of a run of a backfill, %s", async (order) => {
  const { deps, pool } = database;
  await publishDaily(deps, "daily");
  const w = await worker(deps, "w");
  const id = await backfill(deps, january("daily", { end: "2024-01-03", maxActive: 1, order }));
  const runs = (await runsOf(deps, id)).filter(({ state }) => state === "queued").map((run) => run.id);
  await finishRunning(pool, (await claimAll(deps, w)).map(success), "worker:w", LEASE_MS);
  const { started, more } = await askMeanwhile(runs.slice(0, 1), () => advance(pool, id));
  expect([started, more]).toEqual([[], true]);
  expect((await advance(pool, id)).started).toEqual([runs[1]]);
  await carryOutActions(deps);
  expect(await runState(deps, runs[0]!)).toBe("cancelled");
  await nothingBroken(deps);
});

test("a deletion leaves a run of which slices of an action were written after it began", async () => {
  const { deps, pool } = database;
  await publish(deps, "old", { a: [], b: [] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "old");
  await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
  await moveClock(deps, "100 years");
  // Stands still where it asks for the time, with its snapshot taken.
  const gate = await held(deps, (tx) => tx.query("select pg_advisory_xact_lock(1)"));
  await pool.query(`
    alter function sluice.clock() rename to real_clock;
    create function sluice.clock() returns timestamptz language plpgsql as $$
    begin
      if current_setting('sluice.stands_still', true) = 'yes' then
        perform pg_advisory_xact_lock(1);
      end if;
      return sluice.real_clock();
    end $$`);
  const client = await pool.connect();
  try {
    await client.query("set sluice.stands_still = 'yes'");
    const days = (await pool.query<{ days: number }>("select keep_days as days from sluice.dag_run")).rows[0]!.days;
    const deleting = client.query("select deleted from sluice.delete_runs($1, '-infinity', 10)", [days]);
    await waitsForLock(deps);
    await insertAction(pool, runId, CLEAR);
    expect((await carryOutSlice(deps, runId, { most: 1 })).outcome).toBe("open");
    await gate.commit();
    expect((await deleting).rows).toEqual([{ deleted: 0 }]);
  } finally {
    await client.query("reset sluice.stands_still");
    client.release();
    await pool.query("drop function sluice.clock(); alter function sluice.real_clock() rename to clock");
  }
  await deleteSlice(pool, 10);
  expect(await runExists(deps, runId)).toBe(true);
  await carryOutActions(deps);
  expect(await runState(deps, runId)).toBe("running");
  await nothingBroken(deps);
});
