import { beforeEach, describe, expect, test } from "vitest";
import { insertAction } from "#lib/db/run-actions.ts";
import {
  backfill,
  forgetBackfills,
  going,
  january,
  nothingBroken,
  publishDaily,
  runsOf,
} from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, runState, start, success, worker } from "#lib/testing/engine.ts";
import { cancelBackfill } from "./backfill/cancel.ts";
import { pauseBackfill } from "./backfill/pause.ts";
import { carryOutSlice } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { followUp } from "./follow-up.ts";
import { pauseDag, pauseRun } from "./pause.ts";
import { cancelRun } from "./run-actions.ts";

/**
 * Where a DAG allows one run at a time, the place of a run is for whatever waits for it: the effects of each transition name it, and
 * nothing waits for a scheduler's loop, of which none goes here.
 */

const database = testDatabase();
const anna = { actor: "anna" };
const bash = { type: "bash", config: { command: "true" } };
const DAG = {
  limits: { maxActiveRuns: 1 },
  tasks: [
    { id: "load", ...bash },
    { id: "check", ...bash, dependsOn: ["load"] },
  ],
};

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
  await publishDaily(database.deps, "one", DAG);
});

type Ground = { first: string; second: string; runId: string };

/** Two backfills of three dates; a run of the first one goes on. */
async function two(): Promise<Ground> {
  const { deps } = database;
  const first = await backfill(deps, january("one", { end: "2024-01-03" }));
  const second = await backfill(deps, january("one", { start: "2024-02-01", end: "2024-02-03" }));
  const runId = (await runsOf(deps, first)).find(({ state }) => state === "running")!.id;
  expect(await going(deps, second)).toEqual([]);
  return { first, second, runId };
}

/** Ends what runs, and what that makes claimable, until the run has ended. */
async function endRun(runId: string, end: typeof success | typeof failed): Promise<void> {
  const { deps } = database;
  const w = await worker(deps, "w");
  while ((await runState(deps, runId)) === "running") {
    const own = (await claimAll(deps, w)).filter((claimed) => claimed.runId === runId);
    expect(own).not.toEqual([]);
    await finish(
      deps,
      own.map((one) => end(one)),
      "worker:w",
    );
  }
}

describe("the place of a run of a backfill is for another backfill", () => {
  const FREED: Record<string, (ground: Ground) => Promise<unknown>> = {
    "when the backfill is cancelled": ({ first }) => cancelBackfill(database.deps, first, "anna"),
    "when the run is cancelled and the backfill is paused": async ({ first, runId }) => {
      await pauseBackfill(database.deps, first, "anna");
      await cancelRun(database.deps, runId, anna);
    },
    "when the run is settled and the backfill is paused": async ({ first, runId }) => {
      const { deps } = database;
      const w = await worker(deps, "w");
      const claimed = await claimAll(deps, w);
      await pauseBackfill(deps, first, "anna");
      await finish(deps, claimed.map(failed), "worker:w");
      expect(await runState(deps, runId)).toBe("failed");
    },
  };

  test.each(Object.entries(FREED))("%s", async (_, free) => {
    const { deps } = database;
    const ground = await two();
    await free(ground);
    expect(await going(deps, ground.second)).toEqual(["02-01"]);
    await nothingBroken(deps);
  });

  test("when its last run has ended", async () => {
    const { deps } = database;
    const { first, second } = await two();
    for (const { id } of await runsOf(deps, first)) await endRun(id, success);
    expect(await going(deps, second)).toEqual(["02-01"]);
    await nothingBroken(deps);
  });

  test("and for a queued run of its DAG's own before that", async () => {
    const { deps } = database;
    const { first, second } = await two();
    const own = await start(deps, "one");
    expect(await runState(deps, own)).toBe("queued");
    await cancelBackfill(deps, first, "anna");
    expect([await runState(deps, own), await going(deps, second)]).toEqual(["running", []]);
    await nothingBroken(deps);
  });
});

describe("the place of a run of the only backfill is for a queued run of its DAG's own", () => {
  const FREED: Record<string, (id: string, runId: string) => Promise<unknown>> = {
    "when the backfill is cancelled": (id) => cancelBackfill(database.deps, id, "anna"),
    "when the backfill is paused and the run ends": async (id, runId) => {
      await pauseBackfill(database.deps, id, "anna");
      await cancelRun(database.deps, runId, anna);
    },
    "when the backfill has no other run": (_, runId) => endRun(runId, failed),
  };

  test.each(Object.entries(FREED))("%s", async (_, free) => {
    const { deps } = database;
    const id = await backfill(deps, january("one", { end: "2024-01-01" }));
    const own = await start(deps, "one");
    await free(id, (await runsOf(deps, id))[0]!.id);
    expect(await runState(deps, own)).toBe("running");
    await nothingBroken(deps);
  });
});

describe("the place of a run of the DAG's own is for a backfill", () => {
  test.each(["ended", "cancelled"])("when it has %s while the DAG is paused", async (how) => {
    const { deps } = database;
    const own = await start(deps, "one");
    const id = await backfill(deps, january("one", { end: "2024-01-03" }));
    const claimed = await claimAll(deps, await worker(deps, "w"));
    await pauseDag(deps, "one", "anna");
    expect(await going(deps, id)).toEqual([]);
    if (how === "cancelled") await cancelRun(deps, own, anna);
    else await finish(deps, claimed.map(failed), "worker:w");
    expect(await going(deps, id)).toEqual(["01-01"]);
    await nothingBroken(deps);
  });
});

describe("a queued run of the DAG's own goes before a backfill until", () => {
  const GIVES_WAY: Record<string, (own: string) => Promise<unknown>> = {
    "it is paused": (own) => pauseRun(database.deps, own, "anna"),
    "it is cancelled": (own) => cancelRun(database.deps, own, anna),
    "its DAG is paused": () => pauseDag(database.deps, "one", "anna"),
  };

  test.each(Object.entries(GIVES_WAY))("%s", async (_, giveWay) => {
    const { deps, pool } = database;
    const { second, runId } = await two();
    const own = await start(deps, "one");
    // The place falls free, and the process that is to start the next run dies.
    await pool.query("update sluice.backfill set state = 'paused', paused_by = 'test' where id <> $1", [second]);
    await pool.query("update sluice.dag_run set state = 'success', ended_at = sluice.clock() where id = $1", [runId]);
    await pool.query("delete from sluice.live_attempt");
    await pool.query("update sluice.task_instance set state = 'success', ended_at = sluice.clock()");
    await giveWay(own);
    expect(await going(deps, second)).toEqual(["02-01"]);
  });
});

test("a run that an action has kept from starting starts when the action has nothing to do", async () => {
  const { deps, pool } = database;
  const first = await start(deps, "one");
  const second = await start(deps, "one");
  await insertAction(pool, second, { kind: "clear", args: {}, actor: "anna", reason: null });
  await endRun(first, failed);
  expect(await runState(deps, second)).toBe("queued");
  const { outcome, effects } = await carryOutSlice(deps, second);
  expect(outcome).toBe("unchanged");
  await followUp(deps, effects);
  expect(await runState(deps, second)).toBe("running");
  await nothingBroken(deps);
});
