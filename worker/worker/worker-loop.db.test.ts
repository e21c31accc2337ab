import { beforeEach, expect, test } from "vitest";
import { taskInstanceId } from "#lib/domain/ids.ts";
import type { CallResult } from "#lib/executors/executor.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, moveClock, runState, start, states, patrolAdmission } from "#lib/testing/engine.ts";
import { workerLoops } from "#lib/testing/worker-loops.ts";

const database = testDatabase();
const { loops, work, until, ended, publish } = workerLoops(database);

beforeEach(() => forgetRuns(database.deps));

test("short tasks are claimed ahead of their slots, and no more run at once than there are slots", async () => {
  await publish("short", 300);
  let going = 0;
  let most = 0;
  const seen = new Map<string, unknown>();
  const two = Promise.withResolvers<void>();
  await work("w", async (call) => {
    most = Math.max(most, ++going);
    if (going === 2) two.resolve();
    // All but the first, which is alone, wait once for the other slot to be in use as well.
    if (call.export === "f0") await Promise.resolve();
    else await two.promise;
    going--;
    seen.set(call.export, call.argument.outputs);
    return { ok: true, value: call.export };
  });
  const runId = await start(database.deps, "short");
  await until(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
  expect(most).toBe(2);
  expect(seen.size).toBe(300);
  // What was fetched before its task began is what the task would have fetched.
  expect(seen.get("f0")).toEqual({});
  expect(new Set([...seen].filter(([name]) => name !== "f0").map(([, outputs]) => JSON.stringify(outputs)))).toEqual(
    new Set(['{"t0":"f0"}']),
  );
  // How many depends on how long a task takes here; more than the slots hold, or nothing would be ahead.
  const { rows } = await database.pool.query<{ ahead: number }>("select function_ahead as ahead from sluice.worker");
  expect(rows[0]!.ahead).toBeGreaterThan(2);
});

test("what was claimed ahead of a task that takes long goes to another worker, without counting as lost", async () => {
  await publish("stuck", 200);
  const stuck = Promise.withResolvers<CallResult>();
  let calls = 0;
  await work("stuck", (_, signal) => {
    signal.addEventListener("abort", () => stuck.resolve({ ok: false, error: "stopped" }));
    return ++calls <= 60 ? Promise.resolve({ ok: true, value: null }) : stuck.promise;
  });
  const runId = await start(database.deps, "stuck");
  const events = async (reason: string): Promise<number> =>
    (await database.pool.query("select from sluice.event where reason = $1", [reason])).rowCount ?? 0;
  await until(async () => (await events("NOT_BEGUN")) > 0);
  await work("other", () => Promise.resolve({ ok: true, value: null }));
  const rest = async (): Promise<number> =>
    (await database.pool.query("select from sluice.task_instance where ended_at is null")).rowCount ?? 0;
  await until(async () => (await rest()) === 2);
  stuck.resolve({ ok: true, value: null });
  await until(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
  const { rows } = await database.pool.query("select max(lost_attempts) as lost from sluice.task_instance");
  expect(rows).toEqual([{ lost: 0 }]);
});

test("a worker that stops hands back what it has claimed and not begun, at once", async () => {
  await publish("stop", 200);
  const slow = Promise.withResolvers<CallResult>();
  const drained = Promise.withResolvers<void>();
  let calls = 0;
  const loop = await work("w", () => {
    if (++calls <= 60) return Promise.resolve({ ok: true, value: null });
    // At that moment, since what is claimed ahead waits for half a second only.
    if (calls === 61) void loop.drain(60_000).then(drained.resolve);
    return slow.promise;
  });
  await start(database.deps, "stop");
  const running = async (): Promise<number> =>
    (await database.pool.query("select from sluice.live_attempt where state = 'running'")).rowCount ?? 0;
  await until(() => Promise.resolve(calls > 60));
  await until(async () => (await running()) <= 2);
  slow.resolve({ ok: true, value: null });
  await drained.promise;
  expect(await running()).toBe(0);
});

test("a lease that nobody has confirmed for long is confirmed before anything is claimed", async () => {
  const { pool } = database;
  await publish("overdue", 3);
  // As after a database that was away, with the heartbeat not yet heard again.
  await work("w", () => Promise.resolve({ ok: true, value: null }), { registeredMsAgo: 25_000 });
  const runId = await start(database.deps, "overdue");
  await until(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
  const { rows } = await pool.query(
    "select lease_until > sluice.clock() + interval '10 s' as renewed from sluice.worker",
  );
  expect(rows).toEqual([{ renewed: true }]);
});

test("a function that says not yet gives its only slot to another task, and goes on with its log when its time has come", async () => {
  const { deps, pool } = database;
  await publish("waits", 2, { dependsOn: [] });
  const calls: string[] = [];
  const ids = new Set<unknown>();
  const done = (task: string): boolean => calls.filter((called) => called === task).length === 3;
  await work(
    "w",
    async ({ export: task, argument }, _, write) => {
      calls.push(task);
      write("stdout", Buffer.from(`look ${calls.filter((called) => called === task).length}\n`));
      if (task === "f1") return { ok: true, value: null };
      ids.add(argument.attemptId);
      return done("f0") ? { ok: true, value: "came" } : { ok: "not yet", afterMs: 30_000, reason: "no file" };
    },
    { functionSlots: 1, hasMovingClock: true },
  );
  const runId = await start(deps, "waits");
  const isDeferred = async (): Promise<boolean> => (await states(deps, runId))[0] === "deferred";
  await until(async () => calls.includes("f1") && (await isDeferred()));
  for (const [look, time] of [
    [2, "31 s"],
    [3, "62 s"],
  ] as const) {
    await moveClock(deps, time);
    await Promise.all(loops.map((loop) => loop.heartbeat()));
    await patrolAdmission(deps);
    await until(async () => calls.length === 1 + look && (done("f0") || (await isDeferred())));
  }
  await until(ended(runId));
  expect(await runState(deps, runId)).toBe("success");
  expect(calls.toSorted()).toEqual(["f0", "f0", "f0", "f1"]);
  expect(ids.size).toBe(1);
  const attempts = await pool.query(
    "select number, state, deferrals, id from sluice.attempt order by task_instance_id",
  );
  expect(attempts.rows).toEqual([
    { number: 1, state: "success", deferrals: 2, id: [...ids][0] },
    expect.objectContaining({ deferrals: null }),
  ]);
  const log = await deps.logs.read({ taskInstanceId: taskInstanceId(runId, 0), number: 1 }, -1);
  expect(Buffer.concat(log.map(({ chunk }) => chunk)).toString()).toBe("look 1\nlook 2\nlook 3\n");
});

test("a wait is over when the timeout of its task is, and fails as one that may be tried again", async () => {
  const { deps, pool } = database;
  await publish("late", 1, { timeout: "1m", retries: { max: 1, delay: "1h", jitter: false } });
  const look = { ok: "not yet", afterMs: 3_600_000, reason: "no file" } as const;
  await work("w", () => Promise.resolve(look), { hasMovingClock: true });
  const runId = await start(deps, "late");
  const is = (state: string) => async (): Promise<boolean> => (await states(deps, runId))[0] === state;
  await until(is("deferred"));
  // The last look is not after an hour, but when the minute is over.
  await moveClock(deps, "61 s");
  await Promise.all(loops.map((loop) => loop.heartbeat()));
  await patrolAdmission(deps);
  await until(is("retrying"));
  const { rows } = await pool.query("select state, reason, error, deferrals from sluice.attempt");
  const error = "it waited for its timeout of 1m, and still: no file";
  expect(rows).toEqual([{ state: "failed", reason: "TIMEOUT", error, deferrals: 1 }]);
});

test("a worker that gets less than its free slots were promised asks for a pass, and so does one for lanes of others", async () => {
  let passes = 0;
  const deps = { ...database.deps, requestAdmission: async () => void passes++ };
  const loop = await work("w", () => Promise.resolve({ ok: true, value: null }), { deps });
  const asks = async (lanes: readonly string[]): Promise<void> => {
    const before = passes;
    loop.claimable(lanes);
    await until(async () => Promise.resolve(passes > before));
  };
  await asks(["default.function"]);
  await asks(["elsewhere.function"]);
});
