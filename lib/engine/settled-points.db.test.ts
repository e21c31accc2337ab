import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { readyDue } from "#lib/db/admission.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import { lockRun, writeStates } from "#lib/db/run-states.ts";
import { inTx } from "#lib/db/tx.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { slotOf, taskInstanceId } from "#lib/domain/ids.ts";
import type { TaskState } from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  failed,
  liveAttempts,
  moveClock,
  publish,
  runState,
  start,
  startReady,
  states,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { admission, finishing, held, waitsForLock } from "#lib/testing/races.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask } from "./run-actions.ts";
import { settleRun } from "./settle-run.ts";
import { handBack } from "./sweep.ts";
import { startQueuedRuns } from "./start-queued-runs.ts";

/**
 * People against the machine, and the machine against itself, in both orders where both exist. One of the two is held
 * in a transaction; the other is known to wait for it, or known to be done, before the first commits.
 */

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(() => forgetRuns(database.deps));

describe("a clear", () => {
  test("that comes before an end fences it, and the child waits for the new attempt", async () => {
    const { deps, pool } = database;
    await publish(deps, "cleared", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "cleared");
    const [a] = await claimAll(deps, w);
    const lock = await held(deps, (tx) => tx.query("select from sluice.task_instance order by id for update"));
    const clear = clearTask(deps, taskInstanceId(runId, 0), anna);
    await waitsForLock(deps);
    // Its end does not wait for the run, which the clear has: it is to come again.
    const early = await finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    expect([early.accepted, early.busy]).toEqual([[], [a!.taskInstanceId]]);
    await lock.commit();
    expect(await clear).toBe(true);
    const late = await finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    expect([late.accepted, late.busy]).toEqual([[], []]);
    expect(await states(deps, runId)).toEqual(["queued", "waiting"]);
  });

  test("that comes after an end begins again behind it", async () => {
    const { deps, pool } = database;
    await publish(deps, "ended", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "ended");
    const [a] = await claimAll(deps, w);
    const ended = await held(deps, finishing(success(a!)));
    const clear = clearTask(deps, taskInstanceId(runId, 0), anna);
    await waitsForLock(deps);
    await ended.commit();
    expect([ended.result, await clear]).toEqual([[a!.taskInstanceId], true]);
    expect(await states(deps, runId)).toEqual(["queued", "waiting"]);
    const { rows } = await pool.query("select open_parents from sluice.task_instance order by id");
    expect(rows).toEqual([{ open_parents: 0 }, { open_parents: 1 }]);
  });

  test("of a child counts a parent that ends while it waits for it", async () => {
    const { deps, pool } = database;
    await publish(deps, "counted", { a: [], b: [], c: ["a", "b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "counted");
    const [a, b] = await claimAll(deps, w);
    const ended = await held(deps, finishing(success(a!)));
    const clear = clearRun(deps, runId, { tasks: ["b"], downstream: true }, anna);
    await waitsForLock(deps);
    await ended.commit();
    await clear;
    expect(await inTx(pool, finishing(success(b!)))).toEqual([]);
    const [again] = await claimAll(deps, w);
    await inTx(pool, finishing(success(again!)));
    expect(await states(deps, runId)).toEqual(["success", "success", "queued"]);
  });
});

describe("a cancel", () => {
  test("that comes while an admission is under way takes away what that one hands over", async () => {
    const { deps } = database;
    await publish(deps, "cancelled", { a: [], b: ["a"] });
    const runId = await startReady(deps, "cancelled");
    const admitted = await held(deps, admission);
    const cancel = cancelRun(deps, runId, anna);
    await waitsForLock(deps);
    await admitted.commit();
    expect([admitted.result, await cancel]).toEqual([1, true]);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["cancelled", "cancelled"], []]);
  });

  test("that is under way is passed over by a look at due retries", async () => {
    const { deps, pool } = database;
    await publish(deps, "due", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "due");
    const [a] = await claimAll(deps, w);
    await inTx(pool, finishing({ ...failed(a!), retryInMs: 1_000 }));
    await moveClock(deps, "2 s");
    // Held after it has taken the tasks: the progress of a run is written last.
    const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
    const cancel = cancelRun(deps, runId, anna);
    await waitsForLock(deps);
    expect(await readyDue(pool)).toMatchObject({ moved: 0 });
    await lock.commit();
    await cancel;
    expect(await readyDue(pool)).toMatchObject({ moved: 0 });
    expect(await states(deps, runId)).toEqual(["cancelled"]);
  });

  test("of a queued run keeps a start from beginning it that waited for it", async () => {
    const { deps, pool } = database;
    await publish(deps, "queued", { a: [] });
    await pauseDag(deps, "queued", "anna");
    const runId = await start(deps, "queued");
    await pool.query("update sluice.dag set paused_by = null, paused_at = null");
    const lock = await held(deps, async (tx) => {
      await lockRun(tx, runId);
      await tx.query("update sluice.dag_run set state = 'cancelled', ended_at = sluice.clock()");
    });
    const started = startQueuedRuns(deps, ["queued"]);
    await waitsForLock(deps);
    await lock.commit();
    await started;
    expect([await runState(deps, runId), await states(deps, runId)]).toEqual(["cancelled", []]);
  });

  test("that waits for the end that closes the run finds it ended, and neither waits for the other for ever", async () => {
    const { deps, pool } = database;
    await publish(deps, "closing", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "closing");
    const [a] = await claimAll(deps, w);
    const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
    const ended = finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    await waitsForLock(deps);
    const cancel = cancelRun(deps, runId, anna);
    await waitsForLock(deps, 2);
    await lock.commit();
    expect([(await ended).accepted, await cancel]).toEqual([[a!.taskInstanceId], false]);
    expect(await runState(deps, runId)).toBe("success");
  });
});

describe("an end", () => {
  type Twice = { of: string; batch: (taken: Claimed, live: Claimed) => Finish[]; makes: TaskState[] };
  const TWICE: Twice[] = [
    {
      of: "an attempt that was taken away and whose task's next one fails",
      batch: (taken, live) => [success(taken), failed(live)],
      makes: ["failed", "waiting", "waiting"],
    },
    {
      of: "an attempt that was taken away, behind the failure of the next one",
      batch: (taken, live) => [failed(live), success(taken)],
      makes: ["failed", "waiting", "waiting"],
    },
    {
      of: "an attempt that was taken away and whose task's next one succeeds",
      batch: (taken, live) => [success(taken), success(live)],
      makes: ["success", "queued", "waiting"],
    },
    {
      of: "one attempt that is handed in twice",
      batch: (_, live) => [success(live), success(live)],
      makes: ["success", "queued", "waiting"],
    },
  ];
  test.for(TWICE)("of $of counts once in a batch, and only as the live one", async ({ batch, makes }) => {
    const { deps, pool } = database;
    await publish(deps, "twice", { a: [], only: ["a"], both: ["a", "b"], b: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "twice");
    const [taken] = await claimSome(deps, w, 1);
    await handBack(deps, w);
    const live = (await claimAll(deps, w)).find(({ taskId }) => taskId === "a");
    expect(taken!.taskInstanceId).toBe(live!.taskInstanceId);
    expect(await inTx(pool, finishing(...batch(taken!, live!)))).toEqual([live!.taskInstanceId]);
    expect(await states(deps, runId)).toEqual([...makes, "running"]);
  });

  test("does not wait for others that only share the run with it", async () => {
    const { deps, pool } = database;
    await publish(deps, "shared", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "shared");
    const [a] = await claimAll(deps, w);
    await held(deps, (tx) => tx.query("select from sluice.dag_run for key share"));
    await finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    expect(await runState(deps, runId)).toBe("success");
  });

  test("that closes the run is not kept from it by one that shares the run with it", async () => {
    const { deps, pool } = database;
    await publish(deps, "again", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "again");
    const [a] = await claimAll(deps, w);
    const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
    // The same end, handed in again by a worker that has had no answer: both hold the run, and one has the task.
    const first = finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    await waitsForLock(deps);
    const second = finishRunning(pool, [success(a!)], "worker:w", LEASE_MS);
    await waitsForLock(deps, 2);
    await lock.commit();
    expect([(await first).accepted, (await second).accepted]).toEqual([[a!.taskInstanceId], []]);
    expect(await runState(deps, runId)).toBe("success");
  });

  test("of the last of several parents goes on with their child, whoever else ended one at that moment", async () => {
    const { deps, pool } = database;
    await publish(deps, "join", { a: [], b: [], c: ["a", "b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "join");
    const [a, b] = await claimAll(deps, w);
    const onward = (end: Finish): Finish => ({ ...end, next: { attemptId: randomUUID(), token: randomUUID() } });
    const first = await held(deps, (tx) => finishRunning(tx, [onward(success(a!))], "worker:w", LEASE_MS));
    const second = finishRunning(pool, [onward(success(b!))], "worker:w", LEASE_MS);
    await waitsForLock(deps);
    await first.commit();
    expect(first.result.continued.size).toBe(0);
    expect([...(await second).continued.values()].map(({ taskId }) => taskId)).toEqual(["c"]);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([
      ["success", "success", "running"],
      ["running"],
    ]);
  });

  test("of tasks of several runs waits for none of them, and those of the locked one come again", async () => {
    const { deps, pool } = database;
    await publish(deps, "several", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runs = [await start(deps, "several"), await start(deps, "several"), await start(deps, "several")];
    const claimed = await claimAll(deps, w);
    // A pause that has the first run keeps only the end of that run from being accepted, and gets the others.
    const first = await held(deps, (tx) => lockRun(tx, runs[0]!));
    const ended = await finishRunning(pool, claimed.toReversed().map(success), "worker:w", LEASE_MS);
    await lockRun(first.tx, runs[2]!);
    await first.commit();
    expect([ended.accepted.length, ended.busy]).toEqual([2, [taskInstanceId(runs[0]!, 0)]]);
    expect((await finishRunning(pool, claimed.map(success), "worker:w", LEASE_MS)).accepted).toEqual(ended.busy);
    expect(await Promise.all(runs.map((runId) => states(deps, runId)))).toEqual(runs.map(() => ["success", "queued"]));
  });

  test("and people's actions on its runs in another order both come to their end", async () => {
    const { deps, pool } = database;
    await publish(deps, "crossing", { a: [] });
    const w = await worker(deps, "w");
    for (let round = 0; round < 10; round++) {
      const runs = [];
      for (let n = 0; n < 4; n++) runs.push(await start(deps, "crossing"));
      const claimed = await claimAll(deps, w);
      const ended = inTx(pool, finishing(...claimed.map(success)));
      const cancelled = await Promise.all(runs.toReversed().map((runId) => cancelRun(deps, runId, anna)));
      const accepted = [...(await ended), ...(await inTx(pool, finishing(...claimed.map(success))))];
      // Each run has one end: its task's, or the cancel's.
      expect(accepted.length + cancelled.filter(Boolean).length).toBe(runs.length);
    }
  });
});

describe("a heartbeat", () => {
  /**
   * A heartbeat that has renewed the first of many attempts and waits for the second, against somebody who ends all the
   * others: if that one begins anywhere but with the first, each waits for the other for ever.
   */
  async function beatAgainst(end: (runId: string, others: Claimed[]) => Promise<unknown>): Promise<void> {
    const { deps, pool } = database;
    await publish(deps, "beat", Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`t${n}`, []])));
    const w = await worker(deps, "w");
    const runId = await start(deps, "beat");
    const attempts = await claimAll(deps, w);
    const second = attempts[1]!;
    const lock = await held(deps, (tx) =>
      tx.query("select from sluice.live_attempt where id = $1 for update", [second.attemptId]),
    );
    const refs = attempts.map(({ taskInstanceId, token }) => ({ taskInstanceId, token }));
    const beat = renewLeases(pool, w, refs, LEASE_MS);
    await waitsForLock(deps);
    const others = attempts.filter((attempt) => attempt !== second);
    const both = Promise.all([beat, end(runId, others)]);
    await waitsForLock(deps, 2);
    await lock.commit();
    const [{ held: renewed }] = await both;
    expect(renewed).toHaveLength(attempts.length);
    expect(await liveAttempts(deps)).toEqual(["running"]);
  }

  test("and ends take live attempts in one order, whatever the batch's is", () =>
    beatAgainst((_, others) => finishRunning(database.pool, others.toReversed().map(success), "worker:w", LEASE_MS)));

  test("and people's actions take live attempts in one order", () =>
    beatAgainst(async (runId, others) => {
      const changes = others.map(({ taskInstanceId: id }) => {
        return { ord: slotOf(id), to: "failed" as const, isAnew: false, openParents: 0 };
      });
      const by = { actor: "anna", reason: null };
      const { commit } = await held(database.deps, (tx) => writeStates(tx, runId, changes, by));
      await commit();
    }));
});

test("people's first actions on more runs at once than there are connections all come to their end", async () => {
  const { deps, pool } = database;
  // A version that nobody has looked at yet.
  await publish(deps, "first", { a: [] });
  const runs = await Promise.all(Array.from({ length: 2 * pool.options.max }, () => start(deps, "first")));
  const cancelled = await Promise.all(runs.map((runId) => cancelRun(deps, runId, anna)));
  expect(new Set(cancelled)).toEqual(new Set([true]));
});

test("of two that settle a run at once, one writes", async () => {
  const { deps, pool } = database;
  await publish(deps, "settled", { a: [], b: ["a"], c: ["b"] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "settled");
  const [a] = await claimAll(deps, w);
  await inTx(pool, finishing(failed(a!)));
  const lock = await held(deps, (tx) => lockRun(tx, runId));
  const settlers = [settleRun(deps, runId), settleRun(deps, runId)];
  await waitsForLock(deps, 2);
  await lock.commit();
  await Promise.all(settlers);
  expect([await states(deps, runId), await runState(deps, runId)]).toEqual([
    ["failed", "upstream_failed", "upstream_failed"],
    "failed",
  ]);
  const { rowCount } = await pool.query("select from sluice.event where actor = 'settle'");
  // Two tasks and the run.
  expect(rowCount).toBe(3);
});
