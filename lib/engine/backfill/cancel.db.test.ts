import { beforeEach, describe, expect, test } from "vitest";
import { insertAction } from "#lib/db/run-actions.ts";
import {
  backfill,
  counts,
  forgetBackfills,
  january,
  nothingBroken,
  publishDaily,
  runsOf,
  shown,
} from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, liveAttempts, runState, worker } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { carryOutActions, carryOutSlice } from "../carry-out-actions.ts";
import { finish } from "../finish.ts";
import { clearRun } from "../run-actions.ts";
import { cancelBackfill } from "./cancel.ts";
import { tendBackfills } from "./tend.ts";

/** The cancel of a backfill is committed for all of its runs at once; slices carry it out. */

const database = testDatabase();

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

async function asked(): Promise<string[]> {
  const { rows } = await database.pool.query<{ id: string }>(
    "select run_id as id from sluice.run_action where kind = 'cancel' order by 1",
  );
  return rows.map(({ id }) => id);
}

describe("a cancel of a backfill", () => {
  test("is committed for each of its runs, also when the first one is locked, and a scheduler carries it out", async () => {
    const { deps } = database;
    await publishDaily(deps, "locked");
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("locked", { maxActive: 20 }));
    const running = (await runsOf(deps, id)).filter(({ state }) => state === "running").map((run) => run.id);
    expect(running).toHaveLength(20);
    const lock = await held(deps, (tx) =>
      tx.query("select from sluice.dag_run where id = $1 for update", running.slice(0, 1)),
    );
    expect(await cancelBackfill(deps, id, "anna")).toBe(true);
    expect(await counts(deps, id)).toEqual({ running: 20, cancelled: 11 });
    expect(await asked()).toEqual(running);
    // Nothing of them begins any more.
    expect(await claimAll(deps, w)).toEqual([]);
    await lock.commit();
    await carryOutActions(deps);
    expect(await counts(deps, id)).toEqual({ cancelled: 31 });
    expect([await shown(deps, id), await liveAttempts(deps)]).toMatchObject([{ state: "cancelled" }, []]);
    await nothingBroken(deps);
  });

  test("replaces a clear that would let a run go on that has ended", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "cleared", {
      tasks: ["a", "b", "c"].map((id) => ({ id, type: "bash", config: { command: "true" } })),
    });
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("cleared", { end: "2024-01-02", maxActive: 1 }));
    const [first] = await runsOf(deps, id);
    await endOf(w, first!.id);
    expect(await runState(deps, first!.id)).toBe("failed");
    await insertAction(pool, first!.id, { kind: "clear", args: {}, actor: "anna", reason: null });
    expect((await carryOutSlice(deps, first!.id, { most: 1 })).outcome).toBe("open");
    await cancelBackfill(deps, id, "bert");
    await carryOutActions(deps);
    expect((await runsOf(deps, id)).map(({ state }) => state)).toEqual(["cancelled", "cancelled"]);
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled" });
    await nothingBroken(deps);
  });

  test("ends a run as well that a person lets go on while it is carried out", async () => {
    const { deps } = database;
    await publishDaily(deps, "again");
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("again", { end: "2024-01-03", maxActive: 2 }));
    const [first, second] = await runsOf(deps, id);
    await endOf(w, first!.id);
    const lock = await held(deps, (tx) =>
      tx.query("select from sluice.dag_run where id = $1 for update", [second!.id]),
    );
    await cancelBackfill(deps, id, "bert");
    await clearRun(deps, first!.id, {}, { actor: "anna" });
    expect(await runState(deps, first!.id)).toBe("queued");
    await lock.commit();
    await tendBackfills(deps);
    await carryOutActions(deps);
    expect(await counts(deps, id)).toEqual({ cancelled: 3 });
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled" });
    await nothingBroken(deps);
  });
});

/** Fails all tasks of the run; what others are handed over stays. */
async function endOf(w: Parameters<typeof claimAll>[1], runId: string): Promise<void> {
  const { deps } = database;
  const own = (await claimAll(deps, w)).filter((claimed) => claimed.runId === runId);
  await finish(deps, own.map(failed), "worker:w");
}
