import { beforeEach, describe, expect, test } from "vitest";
import { readyDue } from "#lib/db/admission.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { TriggerRule } from "#lib/domain/model/task.ts";
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
import { admit, admitDue } from "./admit.ts";
import { finish } from "./finish.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { cancelRun, clearRun, clearTask, killTask, markTask } from "./run-actions.ts";
import { startRun } from "./start-run.ts";

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(() => forgetRuns(database.deps));

type Shape = Record<string, { after?: string[]; rule?: TriggerRule }>;

async function publishRuled(id: string, shape: Shape): Promise<void> {
  const spec = DagSpec.parse({
    id,
    tasks: Object.entries(shape).map(([task, { after = [], rule = "all_success" }]) => ({
      id: task,
      type: "bash",
      config: { command: "true" },
      dependsOn: after,
      triggerRule: rule,
    })),
  });
  await inTx(database.deps.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

const skipped = ({ taskInstanceId: id, token }: Claimed) => ({
  taskInstanceId: id,
  token,
  state: "skipped" as const,
  reason: "EXIT",
});

describe("trigger rules in the database", () => {
  test("a cleanup runs after a failure, and decides the run when it is the leaf", async () => {
    const { deps } = database;
    await publishRuled("cleanup", {
      work: {},
      more: { after: ["work"] },
      clean: { after: ["work", "more"], rule: "all_done" },
    });
    const w = await worker(deps, "w");
    const runId = await start(deps, "cleanup");
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed", "queued"]);
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await runState(deps, runId)).toBe("success");
  });

  test("a skip travels, and a join that accepts skips starts when its last parent succeeds afterwards", async () => {
    const { deps } = database;
    await publishRuled("branches", {
      left: {},
      right: {},
      leftChild: { after: ["left"] },
      join: { after: ["leftChild", "right"], rule: "none_failed_min_one_success" },
    });
    const w = await worker(deps, "w");
    const runId = await start(deps, "branches");
    const [left, right] = await claimAll(deps, w);
    await finish(deps, [skipped(left!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["skipped", "running", "skipped", "waiting"]);
    await finish(deps, [success(right!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["skipped", "success", "skipped", "queued"]);
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await runState(deps, runId)).toBe("success");
  });

  test("one_success starts with the first success, one_failed with the first failure, always at once", async () => {
    const { deps } = database;
    await publishRuled("early", {
      a: {},
      b: {},
      first: { after: ["a", "b"], rule: "one_success" },
      alarm: { after: ["a", "b"], rule: "one_failed" },
      now: { after: ["a", "b"], rule: "always" },
    });
    const w = await worker(deps, "w");
    const runId = await start(deps, "early");
    const claimed = await claimAll(deps, w);
    expect(claimed.map((attempt) => attempt.taskId)).toEqual(["a", "b", "now"]);
    const of = (task: string): Claimed => claimed.find((attempt) => attempt.taskId === task)!;
    await finish(deps, [success(of("a"))], "worker:w");
    expect((await states(deps, runId)).slice(2, 4)).toEqual(["queued", "waiting"]);
    await finish(deps, [failed(of("b"))], "worker:w");
    expect((await states(deps, runId)).slice(2, 4)).toEqual(["queued", "queued"]);
  });
});

describe("retries", () => {
  test("a failed attempt waits for its time, the next one counts the failures, the last one leaves a dead letter", async () => {
    const { deps } = database;
    await publish(deps, "again", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "again");
    const [first] = await claimAll(deps, w);
    expect(first).toMatchObject({ number: 1, failures: 0 });
    await finish(deps, [{ ...failed(first!), retryInMs: 60_000 }], "worker:w");
    expect(await states(deps, runId)).toEqual(["retrying", "waiting"]);
    await admitDue(deps);
    expect(await claimAll(deps, w)).toEqual([]);
    await moveClock(deps, "61 s");
    await worker(deps, "w2");
    await admitDue(deps);
    const [second] = await claimAll(deps, w);
    expect(second).toMatchObject({ number: 2, failures: 1 });
    await finish(deps, [{ ...failed(second!), retryInMs: 0 }], "worker:w");
    const [third] = await claimAll(deps, w);
    expect(third).toMatchObject({ number: 3, failures: 2 });
    await finish(deps, [{ ...failed(third!), error: "no" }], "worker:w");
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed"]);
    expect(await runState(deps, runId)).toBe("failed");
    const letters = await database.pool.query(
      "select task_id, attempt, reason, error, dismissed_at from sluice.dead_letter",
    );
    expect(letters.rows).toEqual([{ task_id: "a", attempt: 3, reason: "EXIT", error: "no", dismissed_at: null }]);
  });

  test("two processes that look for due retries make each ready once", async () => {
    const { deps } = database;
    await publish(deps, "due", { a: [], b: [], c: [] });
    const w = await worker(deps, "w");
    await start(deps, "due");
    const claimed = await claimAll(deps, w);
    await finish(
      deps,
      claimed.map((attempt) => ({ ...failed(attempt), retryInMs: 1_000 })),
      "worker:w",
    );
    await moveClock(deps, "2 s");
    const counts = (await Promise.all([readyDue(deps.pool), readyDue(deps.pool)])).map(({ moved }) => moved);
    expect(counts[0]! + counts[1]!).toBe(3);
  });
});

describe("what people do", () => {
  test("cancel ends all that is open, fences what runs, and is refused quietly when the run has ended", async () => {
    const { deps } = database;
    await publish(deps, "cancelled", { a: [], b: [], c: ["a"] });
    const w = await worker(deps, "w", 1);
    const runId = await start(deps, "cancelled");
    const [a] = await claimAll(deps, w);
    expect(await cancelRun(deps, runId, anna)).toBe(true);
    expect(await states(deps, runId)).toEqual(["cancelled", "cancelled", "cancelled"]);
    expect(await runState(deps, runId)).toBe("cancelled");
    expect(await finish(deps, [success(a!)], "worker:w")).toEqual([]);
    expect(await claimAll(deps, w)).toEqual([]);
    expect(await cancelRun(deps, runId, anna)).toBe(false);
    await expect(cancelRun(deps, "999999", anna)).rejects.toMatchObject({ code: "run_not_found" });
    const live = await database.pool.query("select from sluice.live_attempt");
    expect(live.rowCount).toBe(0);
  });

  test("an admission under way while a run is cancelled leaves nothing live behind", async () => {
    const { deps } = database;
    await publish(deps, "race", Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`t${n}`, []])));
    await worker(deps, "w", 1_000);
    for (let round = 0; round < 20; round++) {
      const runId = await startHeld("race");
      await Promise.all([admit(deps), cancelRun(deps, runId, anna), admit(deps)]);
      const live = await database.pool.query("select from sluice.live_attempt where task_instance_id >> 20 = $1", [
        runId,
      ]);
      expect(live.rowCount).toBe(0);
      expect(new Set(await states(deps, runId))).toEqual(new Set(["cancelled"]));
    }
  });

  test("clear runs a task and all behind it again, keeps the history and forgets the outputs", async () => {
    const { deps } = database;
    await publish(deps, "cleared", { a: [], b: ["a"], c: ["b"], other: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "cleared");
    const run = async (): Promise<string[]> => {
      const ran: string[] = [];
      for (let claimed = await claimAll(deps, w); claimed.length > 0; claimed = await claimAll(deps, w)) {
        ran.push(...claimed.map((attempt) => `${attempt.taskId}#${attempt.number}`));
        await finish(
          deps,
          claimed.map((attempt) => ({ ...success(attempt), output: "1" })),
          "worker:w",
        );
      }
      return ran;
    };
    expect(await run()).toEqual(["a#1", "other#1", "b#1", "c#1"]);
    expect(await runState(deps, runId)).toBe("success");
    expect(await clearTask(deps, taskInstanceId(runId, 1), anna)).toBe(true);
    expect(await runState(deps, runId)).toBe("running");
    expect(await states(deps, runId)).toEqual(["success", "queued", "waiting", "success"]);
    const outputs = await database.pool.query("select task_instance_id from sluice.xcom");
    expect(outputs.rowCount).toBe(2);
    expect(await run()).toEqual(["b#2", "c#2"]);
    expect(await runState(deps, runId)).toBe("success");
    expect(await clearRun(deps, runId, { tasks: ["a"], downstream: true, onlyFailed: true }, anna)).toBe(false);
    const history = await database.pool.query("select from sluice.attempt");
    expect(history.rowCount).toBe(6);
  });

  test("clearing only what failed repairs a run", async () => {
    const { deps } = database;
    await publish(deps, "repaired", { a: [], b: ["a"], c: ["b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "repaired");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    expect(await states(deps, runId)).toEqual(["success", "failed", "upstream_failed"]);
    await clearRun(deps, runId, { onlyFailed: true }, anna);
    expect(await states(deps, runId)).toEqual(["success", "queued", "waiting"]);
    const letters = await database.pool.query("select dismissed_by from sluice.dead_letter");
    expect(letters.rows).toEqual([{ dismissed_by: "anna" }]);
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await runState(deps, runId)).toBe("success");
  });

  test("a parent cleared alone may succeed once more under children that have started, and under early ones", async () => {
    const { deps } = database;
    await publishRuled("alone", {
      a: {},
      b: { after: ["a"] },
      now: { after: ["a"], rule: "always" },
      c: { after: ["a", "b"] },
    });
    const w = await worker(deps, "w");
    const runId = await start(deps, "alone");
    const finishAll = async (): Promise<void> => {
      await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    };
    await finishAll();
    const [b] = await claimAll(deps, w);
    await finish(deps, [{ ...failed(b!), retryInMs: 60_000 }], "worker:w");
    await clearRun(deps, runId, { tasks: ["a"] }, anna);
    expect(await states(deps, runId)).toEqual(["queued", "retrying", "success", "waiting"]);
    await finishAll();
    expect(await states(deps, runId)).toEqual(["success", "retrying", "success", "waiting"]);
    await moveClock(deps, "61 s");
    await worker(deps, "w2");
    await admitDue(deps);
    await finishAll();
    await finishAll();
    expect(await runState(deps, runId)).toBe("success");
    const attempts = await database.pool.query(
      "select (task_instance_id & 1048575)::int as ord, count(*)::int as n from sluice.attempt group by 1 order by 1",
    );
    expect(attempts.rows.map(({ n }: { n: number }) => n)).toEqual([2, 2, 1, 1]);
  });

  test("what is cleared in a paused DAG waits until the DAG goes on", async () => {
    const { deps } = database;
    await publish(deps, "heldclear", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "heldclear");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    await pauseDag(deps, "heldclear", "anna");
    await clearTask(deps, taskInstanceId(runId, 0), anna);
    expect(await states(deps, runId)).toEqual(["ready"]);
    await unpauseDag(deps, "heldclear");
    expect(await states(deps, runId)).toEqual(["queued"]);
  });

  test("clearing what runs stops it, and its late result is refused", async () => {
    const { deps } = database;
    await publish(deps, "stopped", { a: [] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "stopped");
    const [first] = await claimAll(deps, w);
    await clearTask(deps, taskInstanceId(runId, 0), anna);
    expect(await finish(deps, [success(first!)], "worker:w")).toEqual([]);
    const [second] = await claimAll(deps, w);
    expect(second).toMatchObject({ number: 2, failures: 0 });
    const history = await database.pool.query("select number, state from sluice.attempt");
    expect(history.rows).toEqual([{ number: 1, state: "cancelled" }]);
  });

  test("marking a failed task successful lets what it had blocked start", async () => {
    const { deps } = database;
    await publish(deps, "marked", { a: [], b: ["a"], c: ["b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "marked");
    await finish(deps, (await claimAll(deps, w)).map(failed), "worker:w");
    expect(await runState(deps, runId)).toBe("failed");
    await markTask(deps, taskInstanceId(runId, 0), "success", anna);
    expect(await states(deps, runId)).toEqual(["success", "queued", "waiting"]);
    expect(await runState(deps, runId)).toBe("running");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
    expect(await runState(deps, runId)).toBe("success");
    const who = await database.pool.query(
      "select actor, reason from sluice.event where to_state = 'success' and actor = 'anna'",
    );
    expect(who.rows).toEqual([{ actor: "anna", reason: "MARKED" }]);
  });

  test("kill ends a running task as failed, without another attempt", async () => {
    const { deps } = database;
    await publish(deps, "killed", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "killed");
    const [a] = await claimAll(deps, w);
    expect(await killTask(deps, taskInstanceId(runId, 0), anna)).toBe(true);
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed"]);
    expect(await finish(deps, [success(a!)], "worker:w")).toEqual([]);
    expect(await killTask(deps, taskInstanceId(runId, 0), anna)).toBe(false);
  });

  test("a paused run and a paused DAG admit nothing, also what becomes ready meanwhile", async () => {
    const { deps } = database;
    await publish(deps, "paused", { a: [], b: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "paused");
    const [a] = await claimAll(deps, w);
    await pauseRun(deps, runId, "anna");
    await finish(deps, [success(a!)], "worker:w");
    await admit(deps);
    expect(await states(deps, runId)).toEqual(["success", "ready"]);
    await pauseDag(deps, "paused", "anna");
    await resumeRun(deps, runId);
    expect(await states(deps, runId)).toEqual(["success", "ready"]);
    const second = await start(deps, "paused");
    expect(await runState(deps, second)).toBe("queued");
    await unpauseDag(deps, "paused");
    expect(await states(deps, runId)).toEqual(["success", "queued"]);
    expect(await states(deps, second)).toEqual(["queued", "waiting"]);
  });
});

test("params are checked when a run starts, and its tasks see their defaults", async () => {
  const { deps } = database;
  const spec = DagSpec.parse({
    id: "params",
    params: { limit: { type: "integer", default: 10, minimum: 1 }, day: { type: "string" } },
    tasks: [{ id: "a", type: "bash", config: { command: "true" } }],
  });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: "params.yaml", source: "", author: "test" }));
  const w = await worker(deps, "w");
  const trigger = (conf: Record<string, unknown>): Promise<unknown> =>
    startRun(deps, { dagId: "params", conf, triggerKind: "manual", actor: "test" });
  await expect(trigger({})).rejects.toThrow('param "day" has no default and must be given');
  await expect(trigger({ day: "x", limit: 0 })).rejects.toThrow(/param "limit"/);
  await trigger({ day: "monday", extra: true });
  const [a] = await claimAll(deps, w);
  expect(a).toMatchObject({ conf: { day: "monday", extra: true }, params: { day: "monday", extra: true, limit: 10 } });
});

/** A run whose tasks are ready and not admitted yet, with a worker that could take them. */
async function startHeld(dagId: string): Promise<string> {
  const { deps } = database;
  await deps.pool.query("update sluice.worker set state = 'draining'");
  const runId = await start(deps, dagId);
  await deps.pool.query("update sluice.worker set state = 'active'");
  return runId;
}
