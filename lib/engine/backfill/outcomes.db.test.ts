import { beforeEach, expect, test } from "vitest";
import { listBackfillEvents } from "#lib/db/backfill-reads.ts";
import { askRunsToEnd } from "#lib/db/backfill/cancel.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { insertAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
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
import { claimAll, failed, forgetRuns, success, worker } from "#lib/testing/engine.ts";
import { carryOutActions, carryOutSlice } from "../carry-out-actions.ts";
import { finish } from "../finish.ts";
import { markTask } from "../run-actions.ts";
import { pauseBackfill } from "./pause.ts";

/** What a backfill says of its runs when people change what became of them. */

const database = testDatabase();

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
  const bash = { type: "bash", config: { command: "true" } };
  await publishDaily(database.deps, "told", {
    tasks: [
      { id: "one", ...bash },
      { id: "two", ...bash },
    ],
  });
});

/** A backfill of one date, whose tasks have ended so. */
async function ended(end: typeof success | typeof failed): Promise<{ id: string; runId: string }> {
  const { deps } = database;
  const w = await worker(deps, "w");
  const id = await backfill(deps, january("told", { end: "2024-01-01" }));
  const [one, two] = await claimAll(deps, w);
  await finish(deps, [success(one!), end(two!)], "worker:w");
  return { id, runId: one!.runId };
}

const events = async (id: string): Promise<string[]> =>
  (await listBackfillEvents(database.pool, id)).map(({ to, actor }) => `${actor} ${to}`);

test("a mark that gives a run another end gives the backfill another one", async () => {
  const { deps, pool } = database;
  const { id, runId } = await ended(failed);
  expect(await shown(deps, id)).toMatchObject({ state: "failed" });
  const { rows } = await pool.query<{ ord: number }>(
    "select (id & 1048575)::int as ord from sluice.task_instance where state = 'failed'",
  );
  expect(await markTask(deps, taskInstanceId(runId, rows[0]!.ord), "success", { actor: "bert" })).toBe(true);
  expect(await counts(deps, id)).toEqual({ success: 1 });
  expect(await shown(deps, id)).toMatchObject({ state: "success" });
  expect(await events(id)).toEqual(["anna running", "limits failed", "bert running", "limits success"]);
  await nothingBroken(deps);
});

test("a cancel of a run that a clear was opening gives the backfill its end", async () => {
  const { deps, pool } = database;
  const { id, runId } = await ended(success);
  await insertAction(pool, runId, { kind: "clear", args: {}, actor: "bert", reason: null });
  expect(await carryOutSlice(deps, runId, { most: 1 })).toMatchObject({ outcome: "open" });
  await insertAction(pool, runId, { kind: "cancel", args: {}, actor: "cleo", reason: null });
  await carryOutActions(deps);
  expect(await counts(deps, id)).toEqual({ cancelled: 1 });
  expect(await shown(deps, id)).toMatchObject({ state: "cancelled" });
  expect(await events(id)).toEqual(["anna running", "limits success", "cleo running", "limits cancelled"]);
  await nothingBroken(deps);
});

test("tasks of a paused backfill stay held until its cancel ends them", async () => {
  const { deps, pool } = database;
  const id = await backfill(deps, january("told", { end: "2024-01-02" }));
  await pauseBackfill(deps, id, "bert");
  await inTx(pool, async (tx) => {
    await writeBackfillState(tx, (await lockBackfill(tx, id))!, "cancelling", "bert", null);
    await askRunsToEnd(tx, id, "bert");
  });
  await nothingBroken(deps);
  await carryOutActions(deps);
  expect((await runsOf(deps, id)).map(({ state }) => state)).toEqual(["cancelled", "cancelled"]);
  await nothingBroken(deps);
});
