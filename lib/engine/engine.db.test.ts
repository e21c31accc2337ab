import { beforeEach, describe, expect, test } from "vitest";
import { applyAdmission } from "#lib/db/admission.ts";
import { createTaskClassCache } from "#lib/db/task-classes.ts";
import { finishRunning } from "#lib/db/finishes.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { unsettledRuns } from "#lib/db/run-states.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  failed,
  moveClock,
  publish,
  runState,
  start,
  states,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { admit, planAdmission } from "./admit.ts";
import { finish } from "./finish.ts";
import { LOST_ALLOWANCE } from "./lease.ts";
import { settleRun } from "./settle-run.ts";
import { startRun } from "./start-run.ts";
import { handBack, sweep } from "./sweep.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

describe("a run goes from its roots to its end", () => {
  test("each task starts when all its parents have succeeded, and the last one closes the run", async () => {
    const { deps } = database;
    await publish(deps, "diamond", { a: [], b: ["a"], c: ["a"], d: ["b", "c"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "diamond");
    const order: string[][] = [];
    for (let claimed = await claimAll(deps, w); claimed.length > 0; claimed = await claimAll(deps, w)) {
      order.push(claimed.map((attempt) => attempt.taskId));
      await finish(deps, claimed.map(success), "worker:w");
    }
    expect(order).toEqual([["a"], ["b", "c"], ["d"]]);
    expect(await runState(deps, runId)).toBe("success");
  });

  test("two last parents that finish at once unlock their child once", async () => {
    const { deps } = database;
    const parents = Array.from({ length: 20 }, (_, n) => `p${n}`);
    await publish(deps, "join", { ...Object.fromEntries(parents.map((p) => [p, []])), child: parents });
    const w = await worker(deps, "w");
    await start(deps, "join");
    const claimed = await claimAll(deps, w);
    await Promise.all(claimed.map((attempt) => finish(deps, [success(attempt)], "worker:w")));
    expect((await claimAll(deps, w)).map((attempt) => attempt.taskId)).toEqual(["child"]);
    expect(await claimAll(deps, w)).toEqual([]);
  });

  test("a failure ends everything behind it as upstream_failed and the run as failed, and leaves other branches alone", async () => {
    const { deps } = database;
    await publish(deps, "broken", { a: [], b: ["a"], c: ["b"], d: ["c"], side: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "broken");
    const [a, side] = await claimAll(deps, w);
    await finish(deps, [failed(a!)], "worker:w");
    expect(await states(deps, runId)).toEqual([
      "failed",
      "upstream_failed",
      "upstream_failed",
      "upstream_failed",
      "running",
    ]);
    expect(await runState(deps, runId)).toBe("running");
    await finish(deps, [success(side!)], "worker:w");
    expect(await runState(deps, runId)).toBe("failed");
  });

  test("a second failure that closes the run leaves nothing to settle", async () => {
    const { deps } = database;
    await publish(deps, "double", { a: [], b: [], c: ["a", "b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "double");
    const [a, b] = await claimAll(deps, w);
    await finish(deps, [failed(a!)], "worker:w");
    await finish(deps, [failed(b!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["failed", "failed", "upstream_failed"]);
    expect(await runState(deps, runId)).toBe("failed");
    expect(await unsettledRuns(database.pool, 10)).toEqual([]);
  });

  test("a run left unsettled by a process that died is settled by the sweep", async () => {
    const { deps } = database;
    await publish(deps, "left", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "left");
    const [a] = await claimAll(deps, w);
    await finishRunning(database.pool, [failed(a!)], "worker:w", 30_000);
    expect(await states(deps, runId)).toEqual(["failed", "waiting"]);
    await sweep(deps);
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed"]);
    await settleRun(deps, runId);
    expect(await runState(deps, runId)).toBe("failed");
  });
});

describe("a result counts once, and only from the holder", () => {
  test("a second result, and one under another token, change nothing", async () => {
    const { deps } = database;
    await publish(deps, "one", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "one");
    const [a] = await claimAll(deps, w);
    const forged = { ...failed(a!), token: "00000000-0000-4000-8000-000000000000" };
    expect(await finish(deps, [forged], "worker:x")).toEqual([]);
    expect(await finish(deps, [success(a!)], "worker:w")).toEqual([a!.taskInstanceId]);
    expect(await finish(deps, [failed(a!)], "worker:w")).toEqual([]);
    expect(await states(deps, runId)).toEqual(["success"]);
  });

  test("after the lease has run out the task runs again and the first holder's result is refused", async () => {
    const { deps } = database;
    await publish(deps, "stolen", { a: [] });
    const w = await worker(deps, "w1");
    const runId = await start(deps, "stolen");
    const [first] = await claimAll(deps, w);
    await moveClock(deps, "1 hour");
    const other = await worker(deps, "w2");
    await allowSweep();
    await sweep(deps);
    const [second] = await claimAll(deps, other);
    expect(second).toMatchObject({ taskId: "a", number: 2 });
    expect(await finish(deps, [failed(first!)], "worker:w1")).toEqual([]);
    await finish(deps, [success(second!)], "worker:w2");
    expect(await runState(deps, runId)).toBe("success");
    const history = await database.pool.query("select number, state, reason from sluice.attempt order by number");
    expect(history.rows).toEqual([
      { number: 1, state: "lost", reason: "LEASE_EXPIRED" },
      { number: 2, state: "success", reason: "EXIT" },
    ]);
  });

  test("a task has become ready before it started, and started before it ended", async () => {
    const { deps } = database;
    await publish(deps, "times", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "times");
    for (let n = 0; n < 2; n++) await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    const { rows } = await database.pool.query(
      "select ready_at <= started_at and started_at <= ended_at as ok from sluice.task_instance where run_id = $1",
      [runId],
    );
    expect(rows).toEqual([{ ok: true }, { ok: true }]);
  });

  test("a key that was used gives its run, also when the DAG would not take the request any more", async () => {
    const { deps } = database;
    await publish(deps, "kept", { a: [] });
    const request = { dagId: "kept", conf: {}, triggerKind: "api" as const, actor: "test", idempotencyKey: "k" };
    const first = await startRun(deps, request);
    await database.pool.query("update sluice.dag set missing = true where id = 'kept'");
    expect(await startRun(deps, request)).toEqual({ runId: first.runId, created: false });
  });

  test("a heartbeat renews what is held and tells what is not", async () => {
    const { deps } = database;
    await publish(deps, "beat", { a: [], b: [] });
    const w = await worker(deps, "w");
    await start(deps, "beat");
    const [a, b] = await claimAll(deps, w);
    await finish(deps, [success(a!)], "worker:w");
    const refs = [a!, b!];
    expect(await renewLeases(deps.pool, w, refs, 30_000)).toMatchObject({
      workerState: "active",
      held: [b!.token],
      assigned: [],
    });
    await worker(deps, "w");
    expect((await renewLeases(deps.pool, w, refs, 30_000)).workerState).toBeUndefined();
  });
});

describe("lost workers", () => {
  test("a worker that starts again under its name gets its tasks back at once", async () => {
    const { deps } = database;
    await publish(deps, "again", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "again");
    const [first] = await claimAll(deps, w);
    const reborn = await worker(deps, "w");
    expect(await claimAll(deps, w)).toEqual([]);
    const [second] = await claimAll(deps, reborn);
    expect(second).toMatchObject({ taskInstanceId: first!.taskInstanceId, number: 2 });
  });

  test("a task that loses its worker again and again ends failed", async () => {
    const { deps } = database;
    await publish(deps, "poison", { a: [] });
    let w = await worker(deps, "w");
    const runId = await start(deps, "poison");
    for (let n = 0; n <= LOST_ALLOWANCE; n++) {
      expect(await claimAll(deps, w)).toHaveLength(1);
      w = await worker(deps, "w");
    }
    expect(await states(deps, runId)).toEqual(["failed"]);
    expect(await runState(deps, runId)).toBe("failed");
  });

  test("handing back at a stop uses up nothing", async () => {
    const { deps } = database;
    await publish(deps, "drain", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "drain");
    for (let n = 0; n < LOST_ALLOWANCE + 2; n++) {
      expect(await claimAll(deps, w)).toHaveLength(1);
      await handBack(deps, w);
    }
    const { rows } = await database.pool.query("select state, lost_attempts from sluice.task_instance");
    expect(rows).toEqual([{ state: "queued", lost_attempts: 0 }]);
  });

  test("no lease counts as run out right after Postgres has come back", async () => {
    const { deps } = database;
    await publish(deps, "outage", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "outage");
    await claimAll(deps, w);
    await database.pool.query("update sluice.live_attempt set lease_until = sluice.clock() - interval '1 s'");
    const { rows } = await database.pool.query<{ young: boolean }>(
      "select clock_timestamp() - pg_postmaster_start_time() < interval '1 hour' as young",
    );
    expect(rows[0]!.young).toBe(true);
    await releaseExpired(database.pool, 3_600_000, LOST_ALLOWANCE);
    expect(await states(deps, runId)).toEqual(["running"]);
  });
});

describe("admission", () => {
  test("many passes at once never admit more than the lane's slots and its window", async () => {
    const { deps } = database;
    await publish(deps, "wide", Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`t${n}`, []])));
    await worker(deps, "w", 4);
    await start(deps, "wide");
    await Promise.all(
      Array.from({ length: 6 }, () =>
        inTx(database.pool, async (tx) => {
          const { plan } = await planAdmission(tx, createTaskClassCache(), "open lanes");
          return applyAdmission(tx, plan);
        }),
      ),
    );
    const { rows } = await database.pool.query<{ n: number }>("select count(*)::int as n from sluice.live_attempt");
    expect(rows[0]!.n).toBe(5);
  });

  test("a task nobody can serve stays ready, and is admitted when a worker comes", async () => {
    const { deps } = database;
    await publish(deps, "lonely", { a: [] });
    const runId = await start(deps, "lonely");
    expect(await admit(deps)).toBe(0);
    expect(await states(deps, runId)).toEqual(["ready"]);
    const w = await worker(deps, "late");
    expect(await claimAll(deps, w)).toHaveLength(1);
  });

  test("a draining worker claims nothing and its deliveries stay for others", async () => {
    const { deps } = database;
    await publish(deps, "handover", { a: [] });
    const w = await worker(deps, "w1");
    await start(deps, "handover");
    await database.pool.query("update sluice.worker set state = 'draining' where id = 'w1'");
    expect(await claimAll(deps, w)).toEqual([]);
    expect(await claimAll(deps, await worker(deps, "w2"))).toHaveLength(1);
  });
});

describe("starting a run", () => {
  test("the same idempotency key at once gives one run; another request under it is refused", async () => {
    const { deps } = database;
    await publish(deps, "keyed", { a: [] });
    const request = { dagId: "keyed", conf: { n: 1 }, triggerKind: "api", actor: "test", idempotencyKey: "k" } as const;
    const runs = await Promise.all(Array.from({ length: 5 }, () => startRun(deps, request)));
    expect(new Set(runs.map((run) => run.runId)).size).toBe(1);
    expect(runs.filter((run) => run.created)).toHaveLength(1);
    await expect(startRun(deps, { ...request, conf: { n: 2 } })).rejects.toMatchObject({
      code: "idempotency_key_reused",
    });
  });

  test("an unknown DAG is refused", async () => {
    await expect(start(database.deps, "nowhere")).rejects.toMatchObject({ code: "dag_not_found" });
  });

  test("the database itself refuses a second live attempt of a task instance", async () => {
    const { deps } = database;
    await publish(deps, "twice", { a: [] });
    await worker(deps, "w");
    await start(deps, "twice");
    const again = database.pool.query(
      `insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
       select task_instance_id, 2, gen_random_uuid(), 'queued', workload_id, lane_id, ready_at from sluice.live_attempt`,
    );
    await expect(again).rejects.toMatchObject({ code: "23505" });
  });
});

/** The sweep waits until Postgres is older than a lease; the test's server is younger. */
async function allowSweep(): Promise<void> {
  const released = await releaseExpired(database.pool, 0, LOST_ALLOWANCE);
  expect(released.runs).toHaveLength(1);
  await admit(database.deps);
}
