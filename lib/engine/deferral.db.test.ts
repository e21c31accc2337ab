import { beforeEach, describe, expect, test } from "vitest";
import { readyDue } from "#lib/db/admission.ts";
import { listAttempts } from "#lib/db/attempt-reads.ts";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { findTaskInstance } from "#lib/db/run-reads.ts";
import { findSituation } from "#lib/db/situation-reads.ts";
import { setSystemLimit } from "#lib/db/system-limits.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { whySentence } from "#lib/domain/why.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  failed,
  forgetRuns,
  liveAttempts,
  moveClock,
  publish,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { movesOf } from "#lib/testing/moves.ts";
import { finishing, held, waitsForLock } from "#lib/testing/races.ts";
import { admit, admitDue } from "./admit.ts";
import { finish } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { cancelRun, clearTask, markTask } from "./run-actions.ts";

/** Attempts that say "not yet": what they hold meanwhile, which is nothing, and what goes on with them. */

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(() => forgetRuns(database.deps));

const notYet = ({ taskInstanceId: id, token }: Claimed, more: Partial<Finish> = {}): Finish => ({
  taskInstanceId: id,
  token,
  state: "deferred",
  reason: "no file",
  lookInMs: 30_000,
  ...more,
});

/** One task that is claimed by `w`. */
async function claimedOne(): Promise<{ w: WorkerRef; runId: string; look: Claimed }> {
  const { deps } = database;
  await publish(deps, "waits", { file: [], use: ["file"] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "waits");
  return { w, runId, look: (await claimAll(deps, w))[0]! };
}

/** Says "not yet" now, and takes the next look at once. */
async function lookAgain(w: WorkerRef, look: Claimed, more: Partial<Finish> = {}): Promise<Claimed> {
  const { deps } = database;
  expect(await finish(deps, [notYet(look, { ...more, lookInMs: 0 })], "worker:w")).toHaveLength(1);
  await admitDue(deps);
  return (await claimAll(deps, w))[0]!;
}

/** What `w` runs has outlived its lease at that time, while `w` itself lives; answers the look that follows. */
async function loseLook(w: WorkerRef, time: string): Promise<Claimed> {
  const { deps, pool } = database;
  await moveClock(deps, time);
  await releaseExpired(pool, 0, 2);
  await renewLeases(pool, w, [], LEASE_MS);
  await admit(deps);
  return (await claimAll(deps, w))[0]!;
}

describe("an attempt that says not yet", () => {
  test("goes on at its time, under its own id and number and with a new token, and fails nothing", async () => {
    const { deps, pool } = database;
    const { runId, look } = await claimedOne();
    await finish(deps, [notYet(look)], "worker:w");
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["deferred", "waiting"], []]);
    const after = async (time: string): Promise<Claimed[]> => {
      await moveClock(deps, time);
      const again = await worker(deps, "w");
      await admitDue(deps);
      return claimAll(deps, again);
    };
    expect(await after("29 s")).toEqual([]);
    const [next] = await after("31 s");
    expect(next).toMatchObject({ attemptId: look.attemptId, number: 1, failures: 0 });
    expect(next!.token).not.toBe(look.token);
    expect(next!.look!.waitedMs).toBeGreaterThan(30_000);
    expect(await finish(deps, [success(look)], "worker:w")).toEqual([]);
    expect(await finish(deps, [success(next!)], "worker:w")).toHaveLength(1);
    expect(await states(deps, runId)).toEqual(["success", "queued"]);
    const { rows } = await pool.query("select attempts, failures from sluice.task_instance order by id limit 1");
    expect(rows).toEqual([{ attempts: 1, failures: 0 }]);
  });

  test("leaves one row of history and a handful of events, however often it looks", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const counts = async (): Promise<unknown> =>
      (
        await pool.query(
          `select (select count(*)::int from sluice.event) as events, (select count(*)::int from sluice.attempt) as attempts,
                  (select count(*)::int from sluice.deferral) as deferrals`,
        )
      ).rows[0];
    let at = await lookAgain(w, look, { usage: { cpuMs: 5, peakMemoryBytes: 700 } });
    const afterOne = await counts();
    for (let n = 0; n < 20; n++) at = await lookAgain(w, at, { usage: { cpuMs: 10, peakMemoryBytes: 100 } });
    expect(await counts()).toEqual(afterOne);
    const usage = { cpuMs: 1, peakMemoryBytes: 900 };
    await finish(deps, [{ ...success(at), usage }], "worker:w");
    const [attempt] = await listAttempts(pool, taskInstanceId(runId, 0));
    expect(attempt).toMatchObject({ number: 1, state: "success", deferrals: 21, cpuMs: 206, peakMemoryBytes: 900 });
    expect(await counts()).toMatchObject({ attempts: 1, deferrals: 0 });
    expect((await movesOf(pool, taskInstanceId(runId, 0))).filter(({ from }) => from === "running")).toMatchObject([
      { to: "deferred", reason: "no file" },
      { to: "success", reason: "EXIT" },
    ]);
  });

  test("begins when its first look began", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const task = taskInstanceId(runId, 0);
    const [first] = await listAttempts(pool, task);
    await moveClock(deps, "10 s");
    const next = await lookAgain(w, look);
    expect(await listAttempts(pool, task)).toMatchObject([
      { state: "running", queuedAt: first!.queuedAt, startedAt: first!.startedAt, deferrals: 1 },
    ]);
    await finish(deps, [success(next)], "worker:w");
    expect(await listAttempts(pool, task)).toMatchObject([
      { state: "success", queuedAt: first!.queuedAt, startedAt: first!.startedAt },
    ]);
    expect((await findTaskInstance(pool, task))!.startedAt).toBe(first!.startedAt);
  });

  test("is told as what it waits for and until when", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const next = await lookAgain(w, look);
    await finish(deps, [notYet(next, { reason: "still no file" })], "worker:w");
    const task = taskInstanceId(runId, 0);
    const found = (await findTaskInstance(pool, task))!;
    expect(found).toMatchObject({ state: "deferred", attempt: 1, waitsFor: "still no file", endedAt: null });
    const why = whySentence((await findSituation(pool, task))!);
    expect(why).toBe(`it looks again at ${found.notBefore}: still no file (looked 2 times)`);
    expect(await listAttempts(pool, task)).toMatchObject([
      { number: 1, state: "deferred", reason: "still no file", deferrals: 2, workerId: "w", endedAt: null },
    ]);
  });

  test("that fails later is retried by a new attempt, which begins to wait anew", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const next = await lookAgain(w, look);
    await finish(deps, [{ ...failed(next), retryInMs: 0 }], "worker:w");
    const [retry] = await claimAll(deps, w);
    expect(retry).toMatchObject({ number: 2, failures: 1, look: null });
    expect(retry!.attemptId).not.toBe(look.attemptId);
    expect(await listAttempts(pool, taskInstanceId(runId, 0))).toMatchObject([
      { number: 1, state: "failed", deferrals: 1 },
      { number: 2, state: "running", deferrals: 0 },
    ]);
  });

  test("goes on when a look loses its worker, and each look that comes to its end forgives what was lost", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    let at = await lookAgain(w, look);
    for (let round = 1; round <= 3; round++) {
      for (const lost of [1, 2]) {
        const next = await loseLook(w, `${round * 200 + lost * 60} s`);
        expect(next).toMatchObject({ attemptId: look.attemptId, number: 1 });
        expect(await finish(deps, [success(at)], "worker:w")).toEqual([]);
        at = next;
        const { rows } = await pool.query("select lost_attempts as n from sluice.task_instance order by id limit 1");
        expect(rows).toEqual([{ n: lost }]);
      }
      at = await lookAgain(w, at);
    }
    expect(at.look!.waitedMs).toBeGreaterThan(600_000);
    expect(await listAttempts(pool, taskInstanceId(runId, 0))).toMatchObject([{ number: 1, deferrals: 4 }]);
  });

  test("goes on with its log where the last look stopped, also behind one that was lost", async () => {
    const { pool } = database;
    const { w, look } = await claimedOne();
    const writes = async (of: Claimed, seq: number): Promise<void> => {
      const { taskInstanceId: id, number, token } = of;
      const chunk = { taskInstanceId: id, number, token, seq, stream: "stdout" as const, bytes: Buffer.from("looked") };
      await database.deps.logs.append([chunk]);
    };
    await writes(look, 0);
    const second = await lookAgain(w, look, { logBytes: 6 });
    expect(second.look).toMatchObject({ logSeq: 1, logBytes: 6 });
    await writes(second, 1);
    const third = await loseLook(w, "60 s");
    expect(third.look).toMatchObject({ logSeq: 2 });
    await writes(second, 2);
    const { rowCount } = await pool.query("select from sluice.task_log");
    expect(rowCount).toBe(2);
  });

  test("counts once in a batch that holds its end as well, and only under the live token", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const next = await lookAgain(w, look);
    const accepted = await inTx(pool, finishing(success(look), notYet(next), notYet(next, { reason: "twice" })));
    expect(accepted).toEqual([look.taskInstanceId]);
    expect(await states(deps, runId)).toEqual(["deferred", "waiting"]);
    expect(await listAttempts(pool, look.taskInstanceId)).toMatchObject([{ deferrals: 2 }]);
  });
});

describe("while it waits, others have", () => {
  type Limit = { of: string; dag: object; task: object; limit?: () => Promise<unknown>; slots: number };
  const LIMITS: Limit[] = [
    { of: "its slot", dag: {}, task: {}, slots: 1 },
    {
      of: "its slots of a pool",
      dag: {},
      task: { pool: "p", slots: 2 },
      slots: 9,
      limit: () => upsertPool(database.pool, "p", 3, undefined),
    },
    { of: "its place in its DAG", dag: { limits: { maxActiveTasks: 1 } }, task: {}, slots: 9 },
    { of: "its place in its run", dag: { limits: { maxActiveTasksPerRun: 1 } }, task: {}, slots: 9 },
    {
      of: "its place in the system",
      dag: {},
      task: {},
      slots: 9,
      limit: () => setSystemLimit(database.pool, "max_active_tasks", 1),
    },
    { of: "its processors and memory", dag: {}, task: { resources: { cpu: 3, memory: "3Gi" } }, slots: 9 },
  ];
  test.for(LIMITS)("$of, at once", async ({ dag, task, limit, slots }) => {
    const { deps, pool } = database;
    const tasks = ["a", "b"].map((id) => ({ id, type: "bash", config: { command: "true" }, ...task }));
    const spec = DagSpec.parse({ id: "limited", ...dag, tasks });
    await inTx(pool, (tx) => publishVersion(tx, spec, { file: "limited.yaml", source: "", author: "test" }));
    await limit?.();
    const w = await worker(deps, "w", slots);
    const runId = await start(deps, "limited");
    const take = (): Promise<Claimed[]> => claimSome(deps, w, slots);
    const first = await take();
    expect(first.map(({ taskId }) => taskId)).toEqual(["a"]);
    // No other pass of admission comes: the end of the look hands the place on.
    await finish(deps, [notYet(first[0]!)], "worker:w");
    const second = await take();
    expect(second.map(({ taskId }) => taskId)).toEqual(["b"]);
    await finish(deps, [success(second[0]!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["deferred", "success"]);
    expect(await runState(deps, runId)).toBe("running");
  });
});

describe("a race", () => {
  test("of a cancel that waits for a look's end ends the attempt between two looks", async () => {
    const { deps, pool } = database;
    const { runId, look } = await claimedOne();
    const ended = await held(deps, finishing(notYet(look)));
    const cancel = cancelRun(deps, runId, anna);
    await waitsForLock(deps);
    await ended.commit();
    expect([ended.result, await cancel]).toEqual([[look.taskInstanceId], true]);
    expect(await states(deps, runId)).toEqual(["cancelled", "cancelled"]);
    expect(await listAttempts(pool, look.taskInstanceId)).toMatchObject([
      { number: 1, state: "cancelled", reason: "CANCELLED", deferrals: 1, workerId: "w" },
    ]);
    expect((await pool.query("select from sluice.deferral")).rowCount).toBe(0);
  });

  test("of a look's end that comes while its run is being cancelled is lost by it", async () => {
    const { deps, pool } = database;
    const { runId, look } = await claimedOne();
    const lock = await held(deps, (tx) => tx.query("select from sluice.task_instance order by id for update"));
    const cancel = cancelRun(deps, runId, anna);
    await waitsForLock(deps);
    expect(await inTx(pool, finishing(notYet(look)))).toEqual([]);
    await lock.commit();
    expect([await cancel, await inTx(pool, finishing(notYet(look)))]).toEqual([true, []]);
    expect((await pool.query("select from sluice.deferral")).rowCount).toBe(0);
  });

  test("of two that look for what is due makes each ready once", async () => {
    const { deps, pool } = database;
    await publish(deps, "due", { a: [], b: [], c: [] });
    const w = await worker(deps, "w");
    await start(deps, "due");
    await finish(
      deps,
      (await claimAll(deps, w)).map((look) => notYet(look, { lookInMs: 1_000 })),
      "worker:w",
    );
    await moveClock(deps, "2 s");
    const counts = (await Promise.all([readyDue(pool), readyDue(pool)])).map(({ moved }) => moved);
    expect(counts[0]! + counts[1]!).toBe(3);
  });

  test("of a clear with a look that is due begins a new attempt, and none of the old one's looks", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    await finish(deps, [notYet(look, { lookInMs: 0 })], "worker:w");
    // Held after it has taken the tasks: the progress of a run is written last.
    const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
    const clear = clearTask(deps, look.taskInstanceId, anna);
    await waitsForLock(deps);
    expect(await readyDue(pool)).toMatchObject({ moved: 0 });
    await lock.commit();
    await clear;
    expect(await readyDue(pool)).toMatchObject({ moved: 0 });
    const [next] = await claimAll(deps, w);
    expect(next).toMatchObject({ number: 2, look: null });
    expect(await states(deps, runId)).toEqual(["running", "waiting"]);
    expect(await listAttempts(pool, look.taskInstanceId)).toMatchObject([
      { number: 1, state: "cancelled", deferrals: 1 },
      { number: 2, state: "running", deferrals: 0 },
    ]);
  });

  test("of a mark with a look that runs fences the look", async () => {
    const { deps, pool } = database;
    const { w, runId, look } = await claimedOne();
    const next = await lookAgain(w, look);
    await markTask(deps, look.taskInstanceId, "success", anna);
    expect(await finish(deps, [notYet(next)], "worker:w")).toEqual([]);
    expect(await states(deps, runId)).toEqual(["success", "queued"]);
    expect(await listAttempts(pool, look.taskInstanceId)).toMatchObject([
      { number: 1, state: "cancelled", reason: "MARKED", deferrals: 1 },
    ]);
  });
});
