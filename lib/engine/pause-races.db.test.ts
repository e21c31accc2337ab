import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { applyAdmission } from "#lib/db/admission.ts";
import { finishRunning } from "#lib/db/finishes.ts";
import { markDagPaused, markRunPaused } from "#lib/db/pauses.ts";
import { activateRuns } from "#lib/db/runs.ts";
import { inOneTx, inTx } from "#lib/db/tx.ts";
import { unadmitAbandoned } from "#lib/db/unadmit.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  liveAttempts,
  publish,
  runState,
  start,
  startReady,
  states,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { admission, claiming, finishing, held, waitsForLock } from "#lib/testing/races.ts";
import { admit, planAdmission } from "./admit.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseDag, pauseRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearTask } from "./run-actions.ts";

/** A pause against whatever else moves tasks, in both orders where both exist. */

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(() => forgetRuns(database.deps));

describe("a pause", () => {
  test("that comes before a claim takes the attempt back, and the claim finds nothing", async () => {
    const { deps, pool } = database;
    await publish(deps, "paused", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "paused");
    const pause = await held(deps, (tx) => markRunPaused(tx, runId, "anna"));
    expect(await inTx(pool, claiming(deps, w))).toBe(0);
    await pause.commit();
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["ready"], []]);
  });

  test("that comes after a claim leaves the attempt to its worker", async () => {
    const { deps } = database;
    await publish(deps, "claimed", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "claimed");
    const claim = await held(deps, claiming(deps, w));
    const pause = pauseRun(deps, runId, "anna");
    await waitsForLock(deps);
    await claim.commit();
    await pause;
    expect(claim.result).toBe(1);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["running"], ["running"]]);
  });

  test("that comes while an admission is under way takes back what that one hands over", async () => {
    const { deps } = database;
    await publish(deps, "handed", { a: [], b: [] });
    const runId = await startReady(deps, "handed");
    const admitted = await held(deps, admission);
    const pause = pauseRun(deps, runId, "anna");
    await waitsForLock(deps);
    await admitted.commit();
    await pause;
    expect(admitted.result).toBe(2);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["ready", "ready"], []]);
  });

  test("that is under way is passed over by an admission, which does not wait for it", async () => {
    const { deps, pool } = database;
    await publish(deps, "pausing", { a: [] });
    const runId = await startReady(deps, "pausing");
    const pause = await held(deps, (tx) => markRunPaused(tx, runId, "anna"));
    expect(await inTx(pool, admission)).toBe(0);
    await pause.commit();
    expect(await admit(deps)).toBe(0);
    expect(await states(deps, runId)).toEqual(["ready"]);
  });

  test("that comes between an admission's decision and its writing is seen", async () => {
    const { deps } = database;
    await publish(deps, "decided", { a: [] });
    const runId = await startReady(deps, "decided");
    const { plan } = await planAdmission(deps.pool, deps.caches.classes, "open lanes");
    await pauseRun(deps, runId, "anna");
    expect(plan.grants).toHaveLength(1);
    expect(await applyAdmission(deps.pool, plan)).toMatchObject({ attempts: [], granted: 0 });
    expect(await states(deps, runId)).toEqual(["ready"]);
  });

  test("of a DAG waits for what is taken back from workers that have gone, and neither for the other", async () => {
    const { deps, pool } = database;
    await publish(deps, "gone", { a: [] });
    await pool.query("update sluice.dag set max_active_runs = 9 where id = 'gone'");
    await worker(deps, "w");
    const runs = [await start(deps, "gone"), await start(deps, "gone"), await start(deps, "gone")];
    await admit(deps);
    // A scan of the table comes across the youngest first.
    for (const id of runs.toReversed()) await pool.query("update sluice.dag_run set note = 'x' where id = $1", [id]);
    await pool.query("update sluice.worker set lease_until = sluice.clock() - interval '1 hour'");
    const lock = await held(deps, (tx) =>
      tx.query("select from sluice.task_instance where run_id = $1 for update", [runs[1]]),
    );
    // Without a repetition, which would hide that one of them was ended as a deadlock.
    const pause = inOneTx(pool, (tx) => markDagPaused(tx, "gone", "anna"));
    await waitsForLock(deps);
    const sweep = unadmitAbandoned(pool);
    await waitsForLock(deps, 2);
    await lock.commit();
    expect([await pause, await sweep]).toEqual([[], []]);
    expect(await liveAttempts(deps)).toEqual([]);
  });

  test.for(["run", "DAG"] as const)("of a %s holds what a clear under way makes ready", async (what) => {
    const { deps, pool } = database;
    await publish(deps, "again", { a: [], b: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "again");
    const [a] = await claimAll(deps, w);
    await inTx(pool, finishing(success(a!)));
    const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
    const clear = clearTask(deps, taskInstanceId(runId, 0), anna);
    await waitsForLock(deps);
    const pause = what === "run" ? pauseRun(deps, runId, "anna") : pauseDag(deps, "again", "anna");
    await waitsForLock(deps, 2);
    await lock.commit();
    await Promise.all([clear, pause]);
    expect(await admit(deps)).toBe(0);
    expect(await states(deps, runId)).toEqual(["ready", "running"]);
  });

  test("of a DAG and the end of it see a run that a clear makes go again", async () => {
    const { deps, pool } = database;
    await publish(deps, "revived", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "revived");
    await inTx(pool, finishing(...(await claimAll(deps, w)).map(success)));
    const clearDuring = async (change: () => Promise<void>): Promise<string[]> => {
      const lock = await held(deps, (tx) => tx.query("select from sluice.run_progress for update"));
      const clear = clearTask(deps, taskInstanceId(runId, 0), anna);
      await waitsForLock(deps);
      const changed = change();
      await Promise.race([changed, waitsForLock(deps, 2)]);
      await lock.commit();
      await Promise.all([clear, changed]);
      await admit(deps);
      return states(deps, runId);
    };
    expect(await clearDuring(() => pauseDag(deps, "revived", "anna"))).toEqual(["ready"]);
    await cancelRun(deps, runId, anna);
    expect(await clearDuring(() => unpauseDag(deps, "revived"))).toEqual(["queued"]);
  });

  test("that comes before an end keeps its worker from going on with a child", async () => {
    const { deps, pool } = database;
    await publish(deps, "onward", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "onward");
    const [a] = await claimAll(deps, w);
    const pause = await held(deps, (tx) => markRunPaused(tx, runId, "anna"));
    const next = { attemptId: randomUUID(), token: randomUUID() };
    const end = () => finishRunning(pool, [{ ...success(a!), next }], "worker:w", LEASE_MS);
    expect((await end()).busy).toEqual([a!.taskInstanceId]);
    await pause.commit();
    const { accepted, continued } = await end();
    expect([accepted, continued.size]).toEqual([[a!.taskInstanceId], 0]);
    expect([await states(deps, runId), await liveAttempts(deps)]).toEqual([["success", "ready"], []]);
  });

  test("of a DAG holds the child that an end under way makes ready", async () => {
    const { deps } = database;
    await publish(deps, "unlocked", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "unlocked");
    const [a] = await claimAll(deps, w);
    const ended = await held(deps, finishing(success(a!)));
    const pause = pauseDag(deps, "unlocked", "anna");
    await waitsForLock(deps);
    await ended.commit();
    await pause;
    expect(await admit(deps)).toBe(0);
    expect(await states(deps, runId)).toEqual(["success", "ready"]);
  });

  test("of a DAG keeps a run from starting that waited for it", async () => {
    const { deps } = database;
    await publish(deps, "stopped", { a: [] });
    const first = await held(deps, (tx) => markDagPaused(tx, "stopped", "anna"));
    const started = start(deps, "stopped");
    await waitsForLock(deps);
    await first.commit();
    expect(await runState(deps, await started)).toBe("queued");
  });

  test("of a DAG holds the tasks of a run that starts at the same moment", async () => {
    const { deps, pool } = database;
    await publish(deps, "starting", { a: [] });
    await pauseDag(deps, "starting", "anna");
    const runId = await start(deps, "starting");
    await pool.query("update sluice.dag set paused_by = null, paused_at = null");
    const started = await held(deps, async (tx) => (await activateRuns(tx, "starting")).started);
    const pause = pauseDag(deps, "starting", "anna");
    await waitsForLock(deps);
    await started.commit();
    await pause;
    await worker(deps, "w");
    expect(started.result).toEqual([runId]);
    expect(await states(deps, runId)).toEqual(["ready"]);
  });
});
