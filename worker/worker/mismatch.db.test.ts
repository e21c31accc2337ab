import { beforeEach, expect, test } from "vitest";
import type { CallResult } from "#lib/executors/executor.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, liveAttempts, runState, start, states } from "#lib/testing/engine.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { workerLoops } from "#lib/testing/worker-loops.ts";
import { createProtocolGuard } from "../protocol-guard.ts";

/** A worker under which the database's functions change, as in an upgrade. */

const database = testDatabase();
const { loops, work, until, ended, publish } = workerLoops(database);
const done = { ok: true, value: null } as const;

beforeEach(() => forgetRuns(database.deps));

async function rename(from: string, to: string): Promise<void> {
  await database.pool.query(`alter function sluice.${from} rename to ${to}`);
}

/** A worker with one task under way, of two: `end` ends it. */
async function oneUnderWay(dagId: string, deadlineMs: number, onOver: () => void = () => undefined) {
  const guard = createProtocolGuard({ log: SILENT, onOver, deadlineMs });
  let claims = 0;
  const worked = (what: string): void => {
    if (what === "sluice.claim_1") claims++;
    guard.worked(what);
  };
  const protocol = { ...guard, worked };
  await publish(dagId, 2, { dependsOn: [] });
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<CallResult>();
  let calls = 0;
  const call = (_: unknown, signal: AbortSignal): Promise<CallResult> => {
    calls++;
    begun.resolve();
    signal.addEventListener("abort", () => end.resolve({ ok: false, error: "stopped" }));
    return end.promise;
  };
  const loop = await work("w", call, { functionSlots: 1, protocol });
  const runId = await start(database.deps, dagId);
  await until(() => Promise.resolve(calls > 0));
  /** Resolves when the worker has called the claim three times more: what it would have taken, it has taken. */
  const claimsAgain = async (): Promise<void> => {
    const before = claims;
    await until(() => Promise.resolve(claims >= before + 3));
  };
  return { protocol, loop, runId, end, claimsAgain, calls: () => calls };
}

test("a result is handed in when the function is back, and nothing is claimed meanwhile", async () => {
  const { protocol, runId, end, calls } = await oneUnderWay("renamed", 3_600_000);
  await rename("finish_1", "finish_gone");
  await rename("claim_1", "claim_gone");
  end.resolve(done);
  await until(() => Promise.resolve(protocol.trouble()?.includes("finish") ?? false));
  await rename("finish_gone", "finish_1");
  // The end is accepted, and the claim still fails.
  await until(async () => (await states(database.deps, runId))[0] === "success");
  await until(() => Promise.resolve(protocol.trouble()?.includes("claim_1") ?? false));
  expect(calls()).toBe(1);
  await rename("claim_gone", "claim_1");
  await until(ended(runId));
  expect([await runState(database.deps, runId), calls(), protocol.trouble()]).toEqual(["success", 2, undefined]);
});

test("by the deadline the worker gives up what it cannot hand in, and gives its attempts back", async () => {
  const over = Promise.withResolvers<void>();
  const { loop, runId, end } = await oneUnderWay("deadline", 500, over.resolve);
  await rename("finish_1", "finish_gone");
  end.resolve(done);
  await over.promise;
  await loop.drain(60_000);
  loops.splice(0);
  await rename("finish_gone", "finish_1");
  expect(await liveAttempts(database.deps)).not.toContain("running");
  const { rows } = await database.pool.query("select reason from sluice.attempt where task_instance_id >> 20 = $1", [
    runId,
  ]);
  expect(rows).toEqual([{ reason: "DRAINED" }]);
  expect(await runState(database.deps, runId)).toBe("running");
});

test("a worker whose protocol the database does not take any more claims nothing, renews its leases and hands results in", async () => {
  const { protocol, loop, runId, end, claimsAgain, calls } = await oneUnderWay("outdated", 3_600_000);
  await database.pool.query("update sluice.protocol set min = 2, max = 2");
  await loop.heartbeat();
  expect(protocol.trouble()).toContain("too old");
  const { rows } = await database.pool.query(
    "select bool_and(lease_until > sluice.clock() + interval '20 s') as renewed from sluice.live_attempt where state = 'running'",
  );
  expect(rows).toEqual([{ renewed: true }]);
  end.resolve(done);
  await until(async () => (await states(database.deps, runId))[0] === "success");
  await claimsAgain();
  expect(calls()).toBe(1);
  await database.pool.query("update sluice.protocol set min = 1, max = 2");
  await loop.heartbeat();
  await until(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
  await database.pool.query("update sluice.protocol set max = 1");
});
