import { beforeEach, expect, test } from "vitest";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, worker } from "#lib/testing/engine.ts";
import { held, waitsForLock, withoutLockTimeout } from "#lib/testing/races.ts";
import { finish } from "./finish.ts";
import { cancelRun } from "./run-actions.ts";
import { handBack } from "./sweep.ts";

/**
 * Heartbeats lock live attempts in the order of their task instances and nothing else. Whoever ends several attempts locks them in that
 * order, too, wherever their rows lie: otherwise a worker's heartbeat and its own batch of ends wait for each other.
 */

const database = testDatabase();
beforeEach(() => forgetRuns(database.deps));

type Running = { w: WorkerRef; runId: string; claimed: Claimed[] };

const ENDERS: Record<string, (running: Running) => Promise<unknown>> = {
  "the ends of a batch": ({ claimed }) =>
    finish(
      database.deps,
      claimed.map(({ taskInstanceId, token }) => ({ taskInstanceId, token, state: "success", reason: "EXIT" })),
      "worker:w",
    ),
  "what a worker hands back": ({ w }) => handBack(database.deps, w),
  "a cancel": ({ runId }) => cancelRun(database.deps, runId, { actor: "anna" }),
};

test.each(Object.entries(ENDERS))("%s waits for the first attempt without having locked the second", async (_, end) => {
  const { deps, pool } = database;
  await withoutLockTimeout(deps);
  await publish(deps, "two", { a: [], b: [] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "two");
  const claimed = await claimAll(deps, w);
  const [first, second] = claimed.map(({ taskInstanceId }) => taskInstanceId).toSorted();
  // As rows come to lie when one falls free for another: the first one behind the second.
  await pool.query(
    `with row as (delete from sluice.live_attempt where task_instance_id = $1 returning *)
     insert into sluice.live_attempt overriding system value select * from row`,
    [first],
  );
  const lock = "select from sluice.live_attempt where task_instance_id = $1 for update nowait";
  const heartbeat = await held(deps, (tx) => tx.query(lock, [first]));
  const ended = end({ w, runId, claimed });
  await waitsForLock(deps);
  expect((await heartbeat.tx.query(lock, [second])).rowCount).toBe(1);
  await heartbeat.commit();
  await ended;
  expect((await pool.query("select from sluice.live_attempt where state = 'running'")).rowCount).toBe(0);
});
