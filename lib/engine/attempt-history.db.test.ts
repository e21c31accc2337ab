import { randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { releaseExpired } from "#lib/db/lost-attempts.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, moveClock, publish, start, success, worker } from "#lib/testing/engine.ts";
import { finish, finishAndContinue } from "./finish.ts";
import { LEASE_MS, LOST_ALLOWANCE } from "./lease.ts";
import { cancelRun } from "./run-actions.ts";

/** What each attempt keeps for people: when it became ready, was queued, started, ended; and who ran it. */

const database = testDatabase();

type Kept = {
  state: string;
  workerId: string | null;
  version: string | null;
  waited: boolean;
  isInOrder: boolean;
  heartbeatAt: Date | null;
};

beforeEach(async () => {
  await forgetRuns(database.deps);
  await publish(database.deps, "kept", { a: [], b: ["a"] });
});

async function kept(): Promise<Kept[]> {
  const { rows } = await database.pool.query<Kept>(
    `select state, worker_id as "workerId", worker_version as version, queued_at > ready_at as waited,
            ready_at <= queued_at and queued_at <= coalesce(started_at, ended_at)
              and coalesce(started_at, ended_at) <= ended_at as "isInOrder", heartbeat_at as "heartbeatAt"
       from sluice.attempt order by task_instance_id, number`,
  );
  return rows;
}

test("an attempt that succeeds, and a child that continues in its slot", async () => {
  const { deps } = database;
  const w = await worker(deps, "w");
  await start(deps, "kept");
  const [a] = await claimAll(deps, w);
  const next = { attemptId: randomUUID(), token: randomUUID() };
  const { continued } = await finishAndContinue(deps, [{ ...success(a!), next }], "worker:w");
  const b = continued.get(a!.taskInstanceId)!;
  await finish(deps, [success(b)], "worker:w");
  const common = { state: "success", workerId: "w", version: "0.0.0", isInOrder: true, heartbeatAt: null };
  expect(await kept()).toEqual([
    { ...common, waited: true },
    // It was ready, queued and started at one instant.
    { ...common, waited: false },
  ]);
});

test("a lost attempt keeps when its worker last renewed the lease", async () => {
  const { deps, pool } = database;
  const w = await worker(deps, "w");
  await start(deps, "kept");
  const [a] = await claimAll(deps, w);
  await renewLeases(pool, w, [a!], LEASE_MS);
  const { rows } = await pool.query<{ at: Date }>("select heartbeat_at as at from sluice.live_attempt");
  await moveClock(deps, "1 hour");
  await releaseExpired(pool, 0, LOST_ALLOWANCE);
  expect(await kept()).toMatchObject([{ state: "lost", workerId: "w", version: "0.0.0", isInOrder: true }]);
  expect((await kept())[0]!.heartbeatAt).toEqual(rows[0]!.at);
});

test("a cancelled attempt that no worker took", async () => {
  const { deps } = database;
  await worker(deps, "w");
  const runId = await start(deps, "kept");
  await cancelRun(deps, runId, { actor: "anna" });
  expect(await kept()).toMatchObject([{ state: "cancelled", workerId: null, version: null, isInOrder: true }]);
});
