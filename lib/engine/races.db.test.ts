import { beforeEach, describe, expect, test } from "vitest";
import { finishRunning } from "#lib/db/finishes.ts";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import type { Tx } from "#lib/db/pool.ts";
import { lockRun } from "#lib/db/run-states.ts";
import { activateRuns } from "#lib/db/runs.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { inTx } from "#lib/db/tx.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, publish, start, states, success, worker, forgetRuns } from "#lib/testing/engine.ts";
import { admission, claiming, held, waitsForLock } from "#lib/testing/races.ts";
import { finish } from "./finish.ts";
import { cancelRun } from "./run-actions.ts";

/** Two at the same thing, in the order that would go wrong: the second is known to wait for the first's lock. */

const database = testDatabase();

const NOTHING = { runs: [], taskInstanceIds: [], exhausted: [] };

beforeEach(() => forgetRuns(database.deps));

async function publishLimited(id: string, limits: object, tasks: readonly string[]): Promise<void> {
  const spec = DagSpec.parse({
    id,
    limits,
    tasks: tasks.map((task) => ({ id: task, type: "bash", config: { command: "true" } })),
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

describe("two at once", () => {
  test("an admission that waited for another counts what that one admitted", async () => {
    await publishLimited("limited", { maxActiveTasks: 2 }, ["a", "b", "c", "d"]);
    await start(database.deps, "limited");
    // Only now, so that the start's own admission had nobody to admit for.
    await database.pool.query(
      `insert into sluice.worker (id, epoch, host, pid, version, queues, process_slots, function_slots, inline_slots, cpu, memory, state, lease_until)
       values ('w', 1, 'test', 1, '0', '{default}', 9, 9, 9, 9, 9, 'active', sluice.clock() + interval '1 hour')`,
    );
    const first = await held(database.deps, admission);
    expect(first.result).toBe(2);
    const second = inTx(database.pool, admission);
    await waitsForLock(database.deps);
    await first.commit();
    expect(await second).toBe(0);
  });

  test("runs of a DAG that are started at once stay within its limit", async () => {
    await publishLimited("one-run", { maxActiveRuns: 1 }, ["a"]);
    const insert = (): Promise<unknown> =>
      database.pool.query(
        `insert into sluice.dag_run
           (id, keep_days, dag_id, version_id, state, trigger_kind, logical_date, interval_start, interval_end, actor)
         select sluice.new_run_id(30), 30, id, current_version_id, 'queued', 'manual', now(), now(), now(), 'test'
           from sluice.dag where id = 'one-run'`,
      );
    await insert();
    await insert();
    const activate = async (tx: Tx): Promise<number> => (await activateRuns(tx, "one-run")).started.length;
    const first = await held(database.deps, activate);
    const second = inTx(database.pool, activate);
    await waitsForLock(database.deps);
    await first.commit();
    expect([first.result, await second]).toEqual([1, 0]);
  });

  test("an end that comes while the run is being cancelled is refused", async () => {
    const { deps } = database;
    await publish(deps, "cancelled", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "cancelled");
    const [a] = await claimAll(deps, w);
    const lock = await held(database.deps, (tx) => lockRun(tx, runId));
    const cancelled = cancelRun(deps, runId, { actor: "anna" });
    await waitsForLock(database.deps);
    const ended = finish(deps, [success(a!)], "worker:w");
    await lock.commit();
    // Whoever of the two came first: one end, and nothing left open.
    const [, accepted] = await Promise.all([cancelled, ended]);
    expect(await states(deps, runId)).toEqual([accepted.length === 1 ? "success" : "cancelled", "cancelled"]);
  });

  test("parents that end at the same moment in two workers start their child once", async () => {
    const { deps } = database;
    await publish(deps, "join", { a: [], b: [], c: ["a", "b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "join");
    const [a, b] = await claimAll(deps, w);
    const first = await held(database.deps, (tx) => finishRunning(tx, [success(a!)], "worker:w", 30_000));
    const second = finishRunning(database.pool, [success(b!)], "worker:w", 30_000);
    await waitsForLock(database.deps);
    await first.commit();
    await second;
    expect(await states(deps, runId)).toEqual(["success", "success", "queued"]);
  });

  test("of a late end and the sweep, one wins", async () => {
    const { deps } = database;
    await publish(deps, "late", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "late");
    const [a] = await claimAll(deps, w);
    await database.pool.query("update sluice.live_attempt set lease_until = sluice.clock() - interval '1 s'");
    const end = await held(database.deps, (tx) => finishRunning(tx, [success(a!)], "worker:w", 30_000));
    // The sweep passes over what somebody holds, and finds nothing of it afterwards.
    expect(await releaseExpired(database.pool, 0, 3)).toMatchObject(NOTHING);
    await end.commit();
    expect(await releaseExpired(database.pool, 0, 3)).toMatchObject(NOTHING);
    expect(await states(deps, runId)).toEqual(["success"]);
  });

  test("of two workers that claim one attempt, one gets it", async () => {
    const { deps } = database;
    await publish(deps, "claimed", { a: [] });
    const one = await worker(deps, "one");
    const two = await worker(deps, "two");
    await start(deps, "claimed");
    const first = await held(deps, claiming(deps, one));
    // It does not wait for the first.
    expect(await inTx(deps.pool, claiming(deps, two))).toBe(0);
    await first.commit();
    expect([first.result, await inTx(deps.pool, claiming(deps, two))]).toEqual([1, 0]);
  });
});
