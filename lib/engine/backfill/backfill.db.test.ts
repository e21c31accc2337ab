import { beforeEach, describe, expect, test } from "vitest";
import { finishRunning } from "#lib/db/finishes.ts";
import { listBackfillEvents } from "#lib/db/backfill-reads.ts";
import { askRunsToEnd } from "#lib/db/backfill/cancel.ts";
import { lockBackfill, writeBackfillState } from "#lib/db/backfill/state.ts";
import { inTx } from "#lib/db/tx.ts";
import { runIdOf } from "#lib/domain/ids.ts";
import {
  backfill,
  counts,
  forgetBackfills,
  going,
  january,
  nothingBroken,
  publishDaily,
  runsOf,
  shown,
} from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, liveAttempts, runState, start, success, worker } from "#lib/testing/engine.ts";
import { admit } from "../admit.ts";
import { finish } from "../finish.ts";
import { LEASE_MS } from "../lease.ts";
import { pauseDag, pauseRun, resumeRun } from "../pause.ts";
import { carryOutActions } from "../carry-out-actions.ts";
import { cancelRun, clearRun } from "../run-actions.ts";
import { cancelBackfill } from "./cancel.ts";
import { pauseBackfill, resumeBackfill } from "./pause.ts";
import { retryBackfill } from "./retry.ts";
import { tendBackfills } from "./tend.ts";

const database = testDatabase();

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

/** Ends what is claimable, run after run, until nothing is left; `fails` names days that fail. */
async function work(id: string, fails: readonly string[] = []): Promise<void> {
  const { deps } = database;
  const w = await worker(deps, "w");
  for (;;) {
    const claimed = await claimAll(deps, w);
    if (claimed.length === 0) return;
    const days = new Map((await runsOf(deps, id)).map(({ id: runId, day }) => [runId, day]));
    const ends = claimed.map((one) =>
      fails.includes(days.get(runIdOf(one.taskInstanceId)) ?? "") ? failed(one) : success(one),
    );
    await finish(deps, ends, "worker:w");
    await nothingBroken(deps);
  }
}

describe("a backfill", () => {
  test("runs each date of the range once, so many at a time, and ends", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "january", { params: { size: { type: "integer", default: 3 } } });
    const id = await backfill(deps, january("january", { conf: { size: 5 }, note: "a new column" }));
    expect(await going(deps, id)).toEqual(["01-01", "01-02", "01-03", "01-04"]);
    const { rows } = await pool.query(
      `select r.trigger_kind, r.interval_start, r.interval_end, r.conf, r.params, r.actor, r.schedule_id = s.id as of_schedule
         from sluice.dag_run r join sluice.schedule s on s.dag_id = r.dag_id order by r.id limit 1`,
    );
    expect(rows).toEqual([
      {
        trigger_kind: "backfill",
        interval_start: new Date("2024-01-01"),
        interval_end: new Date("2024-01-02"),
        conf: { size: 5 },
        params: { size: 5 },
        actor: "anna",
        of_schedule: true,
      },
    ]);
    await work(id);
    expect(await counts(deps, id)).toEqual({ success: 31 });
    expect(await shown(deps, id)).toMatchObject({ state: "success", slices: 31, note: "a new column", pausedBy: null });
    expect((await runsOf(deps, id)).map(({ day }) => day)).toHaveLength(
      new Set((await runsOf(deps, id)).map((run) => run.day)).size,
    );
    expect(await listBackfillEvents(pool, id)).toMatchObject([
      { from: null, to: "running", actor: "anna" },
      { from: "running", to: "success", actor: "limits" },
    ]);
  });

  test("runs the latest dates first when that is wished", async () => {
    const { deps } = database;
    await publishDaily(deps, "backwards");
    const id = await backfill(deps, january("backwards", { order: "desc", maxActive: 2 }));
    expect((await going(deps, id)).toSorted()).toEqual(["01-30", "01-31"]);
    const w = await worker(deps, "w");
    await finish(deps, (await claimAll(deps, w)).slice(0, 1).map(success), "worker:w");
    expect((await going(deps, id)).toSorted()).toEqual(["01-29", "01-30"]);
  });

  test("has a limit apart from its DAG's, which it leaves to other runs", async () => {
    const { deps } = database;
    await publishDaily(deps, "apart", { limits: { maxActiveRuns: 2 } });
    const [first, second] = [await start(deps, "apart"), await start(deps, "apart")];
    const id = await backfill(deps, january("apart"));
    const third = await start(deps, "apart");
    expect([await runState(deps, first), await runState(deps, third)]).toEqual(["running", "queued"]);
    expect(await counts(deps, id)).toEqual({ running: 4, queued: 27 });
    await cancelRun(deps, first, { actor: "anna" });
    expect([await runState(deps, second), await runState(deps, third)]).toEqual(["running", "running"]);
    expect(await counts(deps, id)).toEqual({ running: 4, queued: 27 });
    await work(id);
    expect(await counts(deps, id)).toEqual({ success: 31 });
  });

  test("is bound by its DAG's limit of tasks", async () => {
    const { deps } = database;
    await publishDaily(deps, "tasks", { limits: { maxActiveTasks: 2 } });
    const w = await worker(deps, "w");
    await backfill(deps, january("tasks"));
    expect(await claimAll(deps, w)).toHaveLength(2);
  });

  test("goes on while its DAG is paused, and its own pause holds it", async () => {
    const { deps } = database;
    await publishDaily(deps, "paused");
    const w = await worker(deps, "w");
    await pauseDag(deps, "paused", "anna");
    const id = await backfill(deps, january("paused"));
    const manual = await start(deps, "paused");
    expect(await runState(deps, manual)).toBe("queued");
    const [first] = await claimAll(deps, w);
    expect(await pauseBackfill(deps, id, "bert")).toBe("paused");
    expect(await shown(deps, id)).toMatchObject({ state: "paused", pausedBy: "bert" });
    await nothingBroken(deps);
    await finish(deps, [success(first!)], "worker:w");
    await tendBackfills(deps);
    expect(await counts(deps, id)).toEqual({ success: 1, running: 3, queued: 27 });
    expect(await resumeBackfill(deps, id, "bert")).toBe("running");
    expect(await counts(deps, id)).toEqual({ success: 1, running: 4, queued: 26 });
    await nothingBroken(deps);
  });

  test("that is paused takes back what was handed over", async () => {
    const { deps } = database;
    await publishDaily(deps, "handed");
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("handed"));
    expect(await liveAttempts(deps)).toHaveLength(4);
    await pauseBackfill(deps, id, "bert");
    expect(await claimAll(deps, w)).toEqual([]);
    expect(await liveAttempts(deps)).toEqual([]);
    await resumeBackfill(deps, id, "bert");
    expect(await claimAll(deps, w)).toHaveLength(4);
  });

  test("passes over a run of it that is paused by itself", async () => {
    const { deps } = database;
    await publishDaily(deps, "one-paused");
    const id = await backfill(deps, january("one-paused", { end: "2024-01-03", maxActive: 1 }));
    const second = (await runsOf(deps, id))[1]!;
    await pauseRun(deps, second.id, "bert");
    await work(id);
    expect(await counts(deps, id)).toEqual({ success: 2, queued: 1 });
    expect(await shown(deps, id)).toMatchObject({ state: "running" });
    await resumeRun(deps, second.id);
    await work(id);
    expect(await shown(deps, id)).toMatchObject({ state: "success" });
  });
});

describe("the end of a backfill", () => {
  test("is a failure when a date failed, and a retry runs only that again, in the version of now", async () => {
    const { deps } = database;
    await publishDaily(deps, "repaired");
    const id = await backfill(deps, january("repaired", { end: "2024-01-05" }));
    await work(id, ["01-02", "01-04"]);
    expect(await shown(deps, id)).toMatchObject({ state: "failed" });
    await publishDaily(deps, "repaired", { description: "repaired" });
    expect(await retryBackfill(deps, id, "bert")).toBe(2);
    expect(await retryBackfill(deps, id, "bert")).toBe(0);
    expect(await shown(deps, id)).toMatchObject({ state: "running", slices: 5, endedAt: null });
    await work(id, ["01-04"]);
    expect(await counts(deps, id)).toEqual({ success: 4, failed: 1 });
    expect(await retryBackfill(deps, id, "bert")).toBe(1);
    await work(id);
    expect(await shown(deps, id)).toMatchObject({ state: "success" });
    expect((await runsOf(deps, id)).slice(5)).toMatchObject([
      { day: "01-02", version: 2, state: "success" },
      { day: "01-04", version: 2, state: "failed" },
      { day: "01-04", version: 2, state: "success" },
    ]);
  });

  test("is noticed when nobody who saw it lives", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "unseen");
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("unseen", { end: "2024-01-01" }));
    await finishRunning(pool, (await claimAll(deps, w)).map(success), "worker:w", LEASE_MS);
    expect(await shown(deps, id)).toMatchObject({ state: "running" });
    await tendBackfills(deps);
    expect(await shown(deps, id)).toMatchObject({ state: "success" });
  });

  test("is undone when a person lets one of its runs go on", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "cleared");
    const id = await backfill(deps, january("cleared", { end: "2024-01-02" }));
    await work(id, ["01-02"]);
    const [, run] = await runsOf(deps, id);
    await clearRun(deps, run!.id, { onlyFailed: true }, { actor: "bert" });
    expect(await shown(deps, id)).toMatchObject({ state: "running", endedAt: null });
    await nothingBroken(deps);
    await work(id);
    expect(await shown(deps, id)).toMatchObject({ state: "success" });
    expect((await listBackfillEvents(pool, id)).map(({ to, actor }) => `${actor} ${to}`)).toEqual([
      "anna running",
      "limits failed",
      "bert running",
      "limits success",
    ]);
  });
});

describe("a cancel", () => {
  test("ends what is queued and what runs, and the backfill", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "cancelled");
    const w = await worker(deps, "w");
    const id = await backfill(deps, january("cancelled"));
    const claimed = await claimAll(deps, w);
    expect(await cancelBackfill(deps, id, "bert")).toBe(true);
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled" });
    expect(await counts(deps, id)).toEqual({ cancelled: 31 });
    expect(await finish(deps, claimed.map(success), "worker:w")).toEqual([]);
    expect(await liveAttempts(deps)).toEqual([]);
    expect(await cancelBackfill(deps, id, "bert")).toBe(false);
    expect((await listBackfillEvents(pool, id)).map(({ to, actor }) => `${actor} ${to}`)).toEqual([
      "anna running",
      "bert cancelling",
      "limits cancelled",
    ]);
    await nothingBroken(deps);
  });

  test("ends a paused backfill", async () => {
    const { deps } = database;
    await publishDaily(deps, "stopped");
    const id = await backfill(deps, january("stopped"));
    await pauseBackfill(deps, id, "bert");
    await cancelBackfill(deps, id, "bert");
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled", pausedBy: null });
  });

  test("whose process died over it is brought to its end by a scheduler", async () => {
    const { deps, pool } = database;
    await publishDaily(deps, "half");
    const id = await backfill(deps, january("half"));
    await inTx(pool, async (tx) => {
      await writeBackfillState(tx, (await lockBackfill(tx, id))!, "cancelling", "bert", null);
      await askRunsToEnd(tx, id, "bert");
    });
    expect(await counts(deps, id)).toEqual({ running: 4, queued: 27 });
    await tendBackfills(deps);
    expect(await counts(deps, id)).toEqual({ running: 4, cancelled: 27 });
    await carryOutActions(deps);
    expect(await counts(deps, id)).toEqual({ cancelled: 31 });
    const { rows } = await pool.query("select distinct actor, reason from sluice.event where to_state = 'cancelled'");
    expect(rows).toEqual([{ actor: "bert", reason: "BACKFILL_CANCELLED" }]);
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled" });
    expect(await retryBackfill(deps, id, "bert")).toBe(31);
    await work(id);
    expect(await shown(deps, id)).toMatchObject({ state: "success" });
  });

  test("of one run leaves the others, and shows in the end", async () => {
    const { deps } = database;
    await publishDaily(deps, "single");
    const id = await backfill(deps, january("single", { end: "2024-01-03", maxActive: 1 }));
    const runs = await runsOf(deps, id);
    await cancelRun(deps, runs[2]!.id, { actor: "bert" });
    await work(id);
    expect(await shown(deps, id)).toMatchObject({ state: "cancelled", counts: { success: 2, cancelled: 1 } });
  });
});

test("tasks of a backfill have its priority, so that those of other runs go first", async () => {
  const { deps, pool } = database;
  await publishDaily(deps, "patient");
  await backfill(deps, january("patient"));
  const manual = [await start(deps, "patient"), await start(deps, "patient")];
  expect(await liveAttempts(deps)).toEqual([]);
  // Its lane has room for one task and one more.
  const w = await worker(deps, "w", 1);
  await admit(deps);
  // Of two, the lower priority has its turn after the higher one.
  expect((await claimAll(deps, w)).map(({ runId }) => manual.includes(runId))).toEqual([true, false]);
  const { rows } = await pool.query(
    `select distinct w.priority, r.trigger_kind from sluice.task_instance t join sluice.dag_run r on r.id = t.run_id
       join sluice.workload w on w.id = t.workload_id order by 1`,
  );
  expect(rows).toEqual([
    { priority: "low", trigger_kind: "backfill" },
    { priority: "medium", trigger_kind: "manual" },
  ]);
});
