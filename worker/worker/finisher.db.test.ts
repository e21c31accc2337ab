import { randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { lockRun } from "#lib/db/run-states.ts";
import { runIdOf } from "#lib/domain/ids.ts";
import { handBack } from "#lib/engine/sweep.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, publish, runState, start, states, success, worker, forgetRuns } from "#lib/testing/engine.ts";
import { FITTING } from "#lib/testing/protocol.ts";
import { held } from "#lib/testing/races.ts";
import { createFinisher } from "./finisher.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const OPTIONS = { actor: "worker:w", slots: 100, unheard: [], protocol: FITTING, onClaimable: () => undefined };

test("of two attempts of one task that end at the same moment, the live one is accepted and goes on", async () => {
  const { deps } = database;
  await publish(deps, "both", { a: [], b: ["a"] });
  const w = await worker(deps, "w");
  await start(deps, "both");
  const [taken] = await claimAll(deps, w);
  await handBack(deps, w);
  const [live] = await claimAll(deps, w);
  const finisher = createFinisher(deps, OPTIONS);
  const onward = (): { attemptId: string; token: string } => ({ attemptId: randomUUID(), token: randomUUID() });
  const [late, timely] = await Promise.all([
    finisher.submit({ ...success(taken!), next: onward() }, 0),
    finisher.submit({ ...success(live!), next: onward() }, 0),
  ]);
  expect(late).toEqual({ accepted: false, next: undefined });
  expect(timely).toMatchObject({ accepted: true, next: { taskId: "b" } });
});

test("an end that the database refuses ends as such, and keeps no other from its end", async () => {
  const { deps } = database;
  await publish(deps, "refused", { a: [], b: [], c: [] });
  const w = await worker(deps, "w");
  const runId = await start(deps, "refused");
  const [a, b, c] = await claimAll(deps, w);
  const finisher = createFinisher(deps, OPTIONS);
  const answers = await Promise.all([
    finisher.submit({ ...success(a!), output: "1" }, 0),
    finisher.submit({ ...success(b!), output: "no JSON" }, 0),
    finisher.submit(success(c!), 0),
  ]);
  expect(answers.map(({ accepted }) => accepted)).toEqual([true, true, true]);
  expect(await states(deps, runId)).toEqual(["success", "failed", "success"]);
  const { rows } = await deps.pool.query("select reason, error from sluice.attempt where state = 'failed'");
  expect(rows).toEqual([
    { reason: "RESULT_UNSTORABLE", error: expect.stringContaining("refuses what the task left: invalid input syntax") },
  ]);
});

test("an end of a locked run keeps no other from its end, and is accepted when the lock is gone", async () => {
  const { deps } = database;
  await publish(deps, "locked", { a: [] });
  await publish(deps, "innocent", { a: [] });
  const w = await worker(deps, "w");
  const locked = await start(deps, "locked");
  const innocent = await start(deps, "innocent");
  const claimed = await claimAll(deps, w);
  const of = (runId: string) => claimed.find(({ taskInstanceId }) => runIdOf(taskInstanceId) === runId)!;
  const lock = await held(deps, (tx) => lockRun(tx, locked));
  const finisher = createFinisher(deps, OPTIONS);
  let isSettled = false;
  const late = finisher.submit(success(of(locked)), 0).finally(() => (isSettled = true));
  expect(await finisher.submit(success(of(innocent)), 0)).toMatchObject({ accepted: true });
  expect([await runState(deps, innocent), isSettled]).toEqual(["success", false]);
  await lock.commit();
  expect(await late).toMatchObject({ accepted: true });
  expect(await runState(deps, locked)).toBe("success");
});
