import { beforeEach, expect, test } from "vitest";
import { finishRunning } from "#lib/db/finishes.ts";
import { readQuarantine } from "#lib/db/quarantine.ts";
import { insertAction } from "#lib/db/run-actions.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, publish, runState, start, states, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { carryOutActions } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { cancelRun } from "./run-actions.ts";
import { sweep } from "./sweep.ts";

/** Runs that cannot be carried out or settled keep no other from it, and no person from a cancel. */

const database = testDatabase();
const PASSES = 3;

beforeEach(() => forgetRuns(database.deps));

/** Has each change of these runs to `state` fail with this SQLSTATE, while `work` is done. */
async function whileRunsFail(
  code: string,
  runs: readonly string[],
  state: string,
  work: () => Promise<void>,
): Promise<void> {
  const { pool } = database;
  await pool.query(`
    create or replace function public.fails() returns trigger language plpgsql as $$
    begin raise exception 'it fails for run %', new.id using errcode = '${code}'; end $$;
    create trigger fails before update on sluice.dag_run for each row
      when (new.id in (${runs.join(", ")}) and new.state = '${state}') execute function public.fails()`);
  try {
    await work();
  } finally {
    await pool.query("drop trigger fails on sluice.dag_run");
  }
}

// A statement that took too long; a damaged row; memory for locks that ran out.
test.for(["57014", "XX001", "53200"])(
  "two actions that fail with %s keep no other from being carried out",
  async (code) => {
    const { deps, pool } = database;
    await publish(deps, "bad", { a: [] });
    await worker(deps, "w");
    const runs = [await start(deps, "bad"), await start(deps, "bad"), await start(deps, "bad")];
    for (const runId of runs)
      await insertAction(pool, runId, { kind: "cancel", args: {}, actor: "anna", reason: null });
    await whileRunsFail(code, runs.slice(0, 2), "cancelled", async () => {
      for (let pass = 0; pass < PASSES; pass++) await carryOutActions(deps).catch(() => undefined);
    });
    expect(await runState(deps, runs[2]!)).toBe("cancelled");
    expect([...(await readQuarantine(pool, "actions")).keys()].toSorted()).toEqual(runs.slice(0, 2).toSorted());
  },
);

test("two unsettled runs that take too long are left out, and the sweep succeeds", async () => {
  const { deps, pool } = database;
  await publish(deps, "slow", { a: [], b: ["a"] });
  const w = await worker(deps, "w");
  const runs = [await start(deps, "slow"), await start(deps, "slow")];
  await finishRunning(pool, (await claimAll(deps, w)).map(failed), "worker:w", LEASE_MS);
  await whileRunsFail("57014", runs, "failed", async () => {
    await sweep(deps).catch(() => undefined);
    await sweep(deps);
  });
  expect((await readQuarantine(pool, "settle")).size).toBe(2);
});

test("runs that a session has locked are left to the next sweep, which settles the others", async () => {
  const { deps, pool } = database;
  await publish(deps, "locked", { a: [], b: ["a"] });
  const w = await worker(deps, "w");
  const runs = [await start(deps, "locked"), await start(deps, "locked"), await start(deps, "locked")];
  await finishRunning(pool, (await claimAll(deps, w)).map(failed), "worker:w", LEASE_MS);
  const lock = await held(deps, (tx) =>
    tx.query("select from sluice.dag_run where id = any ($1) for key share", [runs.slice(0, 2)]),
  );
  // It does not wait for the lock, which is given up only after it.
  await sweep(deps);
  expect(await states(deps, runs[2]!)).toEqual(["failed", "upstream_failed"]);
  await lock.commit();
  await sweep(deps);
  expect(await states(deps, runs[0]!)).toEqual(["failed", "upstream_failed"]);
});

test("a cancel is committed while a slice of another action is being written", async () => {
  const { deps, pool } = database;
  await publish(deps, "slice", { a: [] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "slice");
  await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
  // The slice writes the run's progress last, and waits there.
  const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
  await insertAction(pool, runId, { kind: "clear", args: {}, actor: "anna", reason: null });
  const slice = carryOutActions(deps).catch(() => undefined);
  await waitsForLock(deps);
  await insertAction(pool, runId, { kind: "cancel", args: {}, actor: "anna", reason: null });
  expect((await pool.query("select kind from sluice.run_action")).rows).toEqual([{ kind: "cancel" }]);
  await lock.commit();
  await slice;
  expect(await cancelRun(deps, runId, { actor: "anna" })).toBeTypeOf("boolean");
  await carryOutActions(deps);
  expect(await runState(deps, runId)).not.toBe("running");
  expect((await pool.query("select from sluice.run_action")).rowCount).toBe(0);
});
