import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { WorkerRef } from "#lib/db/claims.ts";
import { listDeadLetters } from "#lib/db/dead-letters.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { inTx } from "#lib/db/tx.ts";
import { unadmitAbandoned } from "#lib/db/unadmit.ts";
import { renewLeases, setWorkerState } from "#lib/db/workers.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  liveAttempts,
  moveClock,
  publish,
  runState,
  start,
  states,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { claiming, finishing, held, waitsForLock } from "#lib/testing/races.ts";
import { claim } from "./claim.ts";
import { finish } from "./finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { cancelRun, clearTask } from "./run-actions.ts";
import { handBack } from "./sweep.ts";

/** What was handed over against claims, and leases against all others that want the attempt. */

const database = testDatabase();
const anna = { actor: "anna" };
const LANES = { queues: ["default"], slotClass: "process" } as const;

beforeEach(() => forgetRuns(database.deps));

const expire = (): Promise<unknown> =>
  database.pool.query("update sluice.live_attempt set lease_until = sluice.clock() - interval '1 s'");

/** As the sweep does; the test's server is too young for the guard of that one. */
const release = () => releaseExpired(database.pool, 0, LOST_ALLOWANCE);

describe("what was handed over", () => {
  test("stays for others when a worker asks that drains, or that another has replaced", async () => {
    const { deps, pool } = database;
    await publish(deps, "left", Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`t${n}`, []])));
    const drained = await worker(deps, "drained");
    const replaced = await worker(deps, "replaced");
    await worker(deps, "replaced");
    await start(deps, "left");
    await setWorkerState(pool, drained, "draining");
    expect([await claimSome(deps, drained, 5), await claimAll(deps, replaced)]).toEqual([[], []]);
    expect(await liveAttempts(deps)).toEqual(Array.from({ length: 20 }, () => "queued"));
    const claimed = await claimAll(deps, await worker(deps, "w"));
    // In the order in which they were handed over.
    expect(claimed.map(({ taskId }) => taskId)).toEqual(Array.from({ length: 20 }, (_, n) => `t${n}`));
  });

  test("is left as it is by a claim that fails", async () => {
    const { deps } = database;
    await publish(deps, "failing", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "failing");
    await expect(claim(deps, w, LANES, ["not a token"])).rejects.toMatchObject({ code: "22P02" });
    expect(await claimAll(deps, w)).toHaveLength(1);
  });

  test("that is taken back from workers that have gone, while one of them claims it, is that one's", async () => {
    const { deps, pool } = database;
    await publish(deps, "back", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "back");
    // Taken for dead: it has not been heard of for longer than a lease.
    await pool.query("update sluice.worker set lease_until = sluice.clock() - interval '1 s'");
    const claimed = await held(deps, claiming(deps, w));
    const back = unadmitAbandoned(pool);
    await waitsForLock(deps);
    await claimed.commit();
    expect([claimed.result, await back]).toEqual([1, []]);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["running"], ["running"]]);
  });

  test("that is taken back first is no one's", async () => {
    const { deps, pool } = database;
    await publish(deps, "gone", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "gone");
    await pool.query("update sluice.worker set lease_until = sluice.clock() - interval '1 s'");
    const back = await held(deps, unadmitAbandoned);
    // A claim does not wait for it.
    expect(await inTx(pool, claiming(deps, w))).toBe(0);
    await back.commit();
    expect([back.result, await inTx(pool, claiming(deps, w))]).toEqual([[runId], 0]);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["ready"], []]);
  });
});

describe("a lease", () => {
  afterEach(() => void vi.useRealTimers());

  test("is not renewed when the attempt was cancelled or cleared, or by whoever has another token", async () => {
    const { deps, pool } = database;
    await publish(deps, "renewed", { a: [], b: [], c: [] });
    await publish(deps, "cancelled", { d: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "renewed");
    const cancelled = await start(deps, "cancelled");
    const [a, b, c, d] = await claimAll(deps, w);
    await cancelRun(deps, cancelled, anna);
    await clearTask(deps, taskInstanceId(runId, 1), anna);
    const refs = [a!, b!, { ...c!, token: randomUUID() }, d!].map(({ taskInstanceId, token }) => ({
      taskInstanceId,
      token,
    }));
    expect((await renewLeases(pool, w, refs, LEASE_MS)).held).toEqual([a!.token]);
  });

  test("that has run out and is swept first fences the end", async () => {
    const { deps, pool } = database;
    await publish(deps, "swept", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "swept");
    const [a] = await claimAll(deps, w);
    await expire();
    const swept = await held(deps, (tx) => releaseExpired(tx, 0, LOST_ALLOWANCE));
    const ended = inTx(pool, finishing(success(a!)));
    await waitsForLock(deps);
    await swept.commit();
    expect([swept.result.runs, await ended]).toEqual([[runId], []]);
    expect(await states(deps, runId)).toEqual(["ready", "waiting"]);
    const { rows } = await pool.query("select state from sluice.attempt");
    expect(rows).toEqual([{ state: "lost" }]);
  });

  test("is swept once by two that sweep at once, and the second does not wait", async () => {
    const { deps, pool } = database;
    await publish(deps, "once", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "once");
    await claimAll(deps, w);
    await expire();
    const first = await held(deps, (tx) => releaseExpired(tx, 0, LOST_ALLOWANCE));
    expect([first.result.runs.length, (await release()).runs.length]).toEqual([1, 0]);
    await first.commit();
    expect((await release()).runs).toEqual([]);
    const { rows } = await pool.query("select lost_attempts as lost from sluice.task_instance");
    expect(rows).toEqual([{ lost: 1 }]);
  });

  test("that is renewed while a sweep looks at it is good again", async () => {
    const { deps } = database;
    await publish(deps, "renewing", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "renewing");
    const [a] = await claimAll(deps, w);
    await expire();
    const refs = [a!];
    const beat = await held(deps, (tx) => renewLeases(tx, w, refs, LEASE_MS));
    const swept = release();
    await waitsForLock(deps);
    await beat.commit();
    expect(beat.result.held).toEqual([a!.token]);
    expect(await swept).toMatchObject({ runs: [], taskInstanceIds: [], exhausted: [] });
    expect(await states(deps, runId)).toEqual(["running"]);
  });

  test("that is swept while a heartbeat comes is not renewed any more", async () => {
    const { deps, pool } = database;
    await publish(deps, "late", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "late");
    const [a] = await claimAll(deps, w);
    await expire();
    const swept = await held(deps, (tx) => releaseExpired(tx, 0, LOST_ALLOWANCE));
    const beat = renewLeases(pool, w, [a!], LEASE_MS);
    await waitsForLock(deps);
    await swept.commit();
    expect((await beat).held).toEqual([]);
  });

  test("is as long as the database's clock says, whatever this process's own does", async () => {
    const { deps } = database;
    await publish(deps, "clock", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "clock");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 365 * 86_400_000 });
    await claimAll(deps, w);
    vi.setSystemTime(Date.now() + 2 * 365 * 86_400_000);
    await moveClock(deps, "-1 hour");
    expect((await release()).runs).toEqual([]);
    await moveClock(deps, "20 s");
    expect((await release()).runs).toEqual([]);
    await moveClock(deps, "31 s");
    expect((await release()).runs).toEqual([runId]);
  });

  test("does not end while Postgres is younger than a lease, however far its clock was set", async () => {
    const { deps, pool } = database;
    await publish(deps, "young", { a: [] });
    const w = await worker(deps, "w");
    await start(deps, "young");
    await claimAll(deps, w);
    await moveClock(deps, "2 hours");
    expect(await releaseExpired(pool, 3_600_000, LOST_ALLOWANCE)).toMatchObject({
      runs: [],
      taskInstanceIds: [],
      exhausted: [],
    });
    expect((await release()).runs).toHaveLength(1);
  });
});

describe("a task that loses its worker again and again", () => {
  async function begin(dagId: string): Promise<{ runId: string; w: WorkerRef }> {
    await publish(database.deps, dagId, { a: [], b: ["a"] });
    const w = await worker(database.deps, "w");
    return { runId: await start(database.deps, dagId), w };
  }

  /** Loses it that often, each time by a worker that starts again under its name. */
  async function lose(times: number, first: WorkerRef): Promise<WorkerRef> {
    let w = first;
    for (let n = 0; n < times; n++) {
      expect(await claimAll(database.deps, w)).toHaveLength(1);
      w = await worker(database.deps, "w");
    }
    return w;
  }

  test("fails, and leaves a dead letter that says so; what was handed back does not count", async () => {
    const { deps, pool } = database;
    const { runId, w: first } = await begin("poison");
    const second = await lose(LOST_ALLOWANCE - 1, first);
    await claimAll(deps, second);
    await handBack(deps, second);
    const w = await lose(1, second);
    expect(await states(deps, runId)).toEqual(["queued", "waiting"]);
    expect(await listDeadLetters(pool, {})).toEqual([]);
    await lose(1, w);
    expect([await states(deps, runId), await runState(deps, runId)]).toEqual([["failed", "upstream_failed"], "failed"]);
    const attempt = LOST_ALLOWANCE + 2;
    expect(await listDeadLetters(pool, {})).toMatchObject([{ taskId: "a", attempt, reason: "WORKER_LOST" }]);
  });

  test("is a success when its worker's end comes before it is given up", async () => {
    const { deps, pool } = database;
    const w = await lose(LOST_ALLOWANCE, (await begin("saved")).w);
    const [a] = await claimAll(deps, w);
    await expire();
    const { exhausted } = await release();
    expect(exhausted).toEqual([{ taskInstanceId: a!.taskInstanceId, token: a!.token }]);
    expect(await finish(deps, [success(a!)], "worker:w")).toHaveLength(1);
    const given = exhausted.map((one) => ({ ...one, state: "failed" as const, reason: "WORKER_LOST" }));
    expect(await finish(deps, given, "sweep")).toEqual([]);
    expect(await listDeadLetters(pool, {})).toEqual([]);
  });

  test("begins to count anew when it is cleared", async () => {
    const { deps } = database;
    const { runId, w } = await begin("counted");
    const reborn = await lose(LOST_ALLOWANCE + 1, w);
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed"]);
    await clearTask(deps, taskInstanceId(runId, 0), anna);
    const [a] = await claimAll(deps, await lose(LOST_ALLOWANCE, reborn));
    expect(await finish(deps, [success(a!)], "worker:w")).toHaveLength(1);
  });
});
