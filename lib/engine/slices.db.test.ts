import { once } from "node:events";
import { beforeEach, describe, expect, test } from "vitest";
import { finishRunning } from "#lib/db/finishes.ts";
import { type NewAction, insertAction } from "#lib/db/run-actions.ts";
import { putInQuarantine, readQuarantine } from "#lib/db/quarantine.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { isFinalTaskState } from "#lib/domain/states.ts";
import { forgetBackfills, nothingBroken } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  failed,
  forgetRuns,
  liveAttempts,
  moveClock,
  publish,
  runState,
  start,
  states,
  success,
  worker,
} from "#lib/testing/engine.ts";
import { held, waitsForLock } from "#lib/testing/races.ts";
import { carryOutActions, carryOutSlice } from "./carry-out-actions.ts";
import { createEngineDeps, type EngineDeps } from "./deps.ts";
import { finish } from "./finish.ts";
import { followUp } from "./follow-up.ts";
import { LEASE_MS } from "./lease.ts";
import { isolatingEach } from "./quarantine.ts";
import { cancelRun, clearRun, killTask, markTask } from "./run-actions.ts";
import { settleRun } from "./settle-run.ts";
import { sweep } from "./sweep.ts";

/** Actions and settling in slices: whatever comes between two of them. A process that dies between slices leaves what is committed. */

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(async () => {
  await forgetRuns(database.deps);
  await forgetBackfills(database.deps);
});

/** Commits what is asked, as a process does that is killed right after. */
async function ask(runId: string, action: Pick<NewAction, "kind" | "args">): Promise<boolean> {
  return insertAction(database.pool, runId, { ...action, ...anna, reason: null } as NewAction);
}

/** One slice of so many tasks, and what follows from it. */
async function slice(runId: string, most: number): Promise<string> {
  const { outcome, effects } = await carryOutSlice(database.deps, runId, { most });
  await followUp(database.deps, effects);
  await nothingBroken(database.deps);
  return outcome;
}

/** Another process, which knows nothing of what the first one did. */
function another(): EngineDeps {
  const { requestAdmission: _, coalesce: __, caches: ___, ...parts } = database.deps;
  return createEngineDeps(parts);
}

const FAN = { root: [], a: ["root"], b: ["root"], c: ["root"], d: ["root"], end: ["a", "b", "c", "d"] };

/** A run of FAN whose four tasks in the middle run; answers their attempts. */
async function fan(id: string): Promise<{ runId: string; attempts: Awaited<ReturnType<typeof claimAll>> }> {
  const { deps } = database;
  await publish(deps, id, FAN);
  const w = await worker(deps, "w");
  const runId = await start(deps, id);
  await finish(deps, (await claimAll(deps, w)).map(success), "worker:w");
  return { runId, attempts: await claimAll(deps, w) };
}

describe("a cancel in slices", () => {
  test("is gone on with by any process when the one that began it has died", async () => {
    const { deps } = database;
    const { runId } = await fan("killed");
    await ask(runId, { kind: "cancel", args: {} });
    expect(await slice(runId, 2)).toBe("open");
    expect(await states(deps, runId)).toEqual(["success", "cancelled", "cancelled", "running", "running", "waiting"]);
    expect(await runState(deps, runId)).toBe("running");
    await carryOutActions(another(), 2);
    expect(await states(deps, runId)).toEqual(["success", ...Array.from({ length: 5 }, () => "cancelled")]);
    expect([await runState(deps, runId), await liveAttempts(deps)]).toEqual(["cancelled", []]);
    await nothingBroken(deps);
  });

  test("counts an end until the slice of its task, and fences it after", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("counts");
    await ask(runId, { kind: "cancel", args: {} });
    await slice(runId, 2);
    const [gone, , open] = attempts;
    expect(await finish(deps, [success(gone!), success(open!)], "worker:w")).toEqual([open!.taskInstanceId]);
    await nothingBroken(deps);
    await carryOutActions(deps);
    expect(await states(deps, runId)).toEqual([
      "success",
      "cancelled",
      "cancelled",
      "success",
      "cancelled",
      "cancelled",
    ]);
  });

  test("ends the run as cancelled, also when everything else has ended before its last slice", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("last");
    await ask(runId, { kind: "cancel", args: {} });
    await slice(runId, 2);
    await finish(deps, attempts.slice(2).map(failed), "worker:w");
    expect(await runState(deps, runId)).toBe("running");
    await nothingBroken(deps);
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
    await nothingBroken(deps);
  });

  test("comes before any end that waits for the run, or after it", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("race");
    await ask(runId, { kind: "cancel", args: {} });
    const ends = attempts.map((attempt) => finish(deps, [success(attempt)], "worker:w"));
    await Promise.all([...ends, carryOutActions(deps, 1), carryOutActions(another(), 1)]);
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
    const accepted = (await Promise.all(ends)).flat();
    const now = await states(deps, runId);
    expect(now.filter((state) => state === "success")).toHaveLength(accepted.length + 1);
    expect(now.every(isFinalTaskState)).toBe(true);
    await nothingBroken(deps);
  });
});

describe("while a run has an action", () => {
  test("nothing of it is admitted, claimed, continued or started", async () => {
    const { deps, pool } = database;
    await publish(deps, "still", { a: [], b: [], c: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "still");
    const [first] = await claimSome(deps, w, 1);
    // The other one is handed over.
    expect(await liveAttempts(deps)).toEqual(["queued", "running"]);
    await ask(runId, { kind: "mark", args: { slot: 2, to: "skipped" } });
    expect(await claimAll(deps, w)).toEqual([]);
    await pool.query("update sluice.task_instance set state = 'ready', attempts = 0 where state = 'queued'");
    await pool.query("delete from sluice.live_attempt where state = 'queued'");
    await deps.requestAdmission();
    expect(await liveAttempts(deps)).toEqual(["running"]);
    await finish(deps, [success(first!)], "worker:w");
    await deps.requestAdmission();
    expect(await liveAttempts(deps)).toEqual([]);
    await carryOutActions(deps);
    expect(await states(deps, runId)).toEqual(["success", "queued", "skipped"]);
    expect(await claimAll(deps, w)).toHaveLength(1);
  });

  test("another one is refused, but a cancel replaces it, also in the middle", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("second");
    await finish(deps, attempts.map(failed), "worker:w");
    expect(await runState(deps, runId)).toBe("failed");
    await ask(runId, { kind: "clear", args: {} });
    await slice(runId, 2);
    expect(await runState(deps, runId)).toBe("failed");
    const refused = { code: "action_in_progress" };
    await expect(clearRun(deps, runId, {}, anna)).rejects.toMatchObject(refused);
    await expect(markTask(deps, attempts[0]!.taskInstanceId, "success", anna)).rejects.toMatchObject(refused);
    await expect(killTask(deps, attempts[0]!.taskInstanceId, anna)).rejects.toMatchObject(refused);
    expect(await cancelRun(deps, runId, anna)).toBe(true);
    expect(await runState(deps, runId)).toBe("cancelled");
    expect((await states(deps, runId)).every(isFinalTaskState)).toBe(true);
    await nothingBroken(deps);
    expect(await clearRun(deps, runId, {}, anna)).toBe(true);
  });

  test("a cancel of a locked run is committed and returns, and a scheduler carries it out", async () => {
    const { deps } = database;
    const { runId } = await fan("locked");
    const lock = await held(deps, (tx) => tx.query("select from sluice.dag_run where id = $1 for update", [runId]));
    expect(await cancelRun(deps, runId, anna)).toBe(true);
    expect(await runState(deps, runId)).toBe("running");
    await lock.commit();
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
  });
});

describe("a pass over actions", () => {
  test("goes on with what is open when a run is locked, and has another try of that one", async () => {
    const { deps } = database;
    const { runId: locked } = await fan("locked");
    const { runId: open } = await fan("open");
    const lock = await held(deps, (tx) => tx.query("select from sluice.dag_run where id = $1 for update", [locked]));
    for (const runId of [locked, open]) await ask(runId, { kind: "cancel", args: {} });
    // Told after a round, in which each of them had a turn.
    const told: string[] = [];
    const announce: typeof deps.notifier.announce = (channel, names) => {
      if (channel !== "sluice_runs") return;
      told.push(...names);
      if (told.length > 0) void lock.commit();
    };
    // More slices of one task than a turn has.
    await carryOutActions({ ...deps, notifier: { ...deps.notifier, announce } }, 1);
    expect(told.slice(0, 2)).toEqual([open, open]);
    expect([await runState(deps, open), await runState(deps, locked)]).toEqual(["cancelled", "cancelled"]);
    await nothingBroken(deps);
  });

  test("leaves a run to the next pass that stays locked, and says so", async () => {
    const { deps } = database;
    const { runId } = await fan("locked");
    const lock = await held(deps, (tx) => tx.query("select from sluice.dag_run where id = $1 for update", [runId]));
    await ask(runId, { kind: "cancel", args: {} });
    await expect(carryOutActions(deps)).rejects.toMatchObject({ code: "55P03" });
    expect(await readQuarantine(database.pool, "actions")).toEqual(new Map());
    await lock.commit();
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
  });

  test("takes in what is asked for while it goes on", async () => {
    const { deps } = database;
    const { runId: first } = await fan("first");
    const { runId: second } = await fan("second");
    await ask(first, { kind: "cancel", args: {} });
    const lock = await held(deps, (tx) => tx.query("select from sluice.dag_run where id = $1 for update", [first]));
    const pass = carryOutActions(deps, 1);
    await waitsForLock(deps);
    await ask(second, { kind: "cancel", args: {} });
    await lock.commit();
    await pass;
    expect([await runState(deps, first), await runState(deps, second)]).toEqual(["cancelled", "cancelled"]);
  });
});

describe("a clear in slices", () => {
  test("leaves the run as it had ended until its last slice, and goes on where it was", async () => {
    const { deps } = database;
    const { runId, attempts } = await fan("cleared");
    await finish(deps, attempts.map(failed), "worker:w");
    await ask(runId, { kind: "clear", args: { onlyFailed: true } });
    const seen: string[] = [];
    for (let outcome = "open"; outcome === "open";) {
      outcome = await slice(runId, 2);
      seen.push(await runState(deps, runId));
    }
    expect(seen.length).toBeGreaterThan(2);
    expect(seen).toEqual([...seen.slice(1).map(() => "failed"), "running"]);
    const w = await worker(deps, "w");
    expect(await claimAll(deps, w)).toHaveLength(4);
  });

  test("decides anew what an end between two slices made ready too early, also when the clock is set back", async () => {
    const { deps } = database;
    await publish(deps, "early", { p1: [], p2: [], q: [], child: ["p1", "p2", "q"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "early");
    const attempts = await claimAll(deps, w);
    await finish(deps, attempts.slice(0, 2).map(success), "worker:w");
    // p1 and p2 run again; the child waits for q alone until their slices are written.
    await ask(runId, { kind: "clear", args: { tasks: ["p1", "p2"] } });
    await slice(runId, 1);
    await moveClock(deps, "-1 hour");
    await finish(deps, [success(attempts[2]!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["waiting", "success", "success", "ready"]);
    await carryOutActions(deps, 1);
    await nothingBroken(deps);
    expect(await states(deps, runId)).toEqual(["queued", "queued", "success", "waiting"]);
  });

  test("leaves what was ready before it, by whatever clock", async () => {
    const { deps } = database;
    const task = (id: string, more: object = {}) => ({ id, type: "bash", config: { command: "true" }, ...more });
    const tasks = [
      task("a"),
      task("b"),
      task("alarm", { dependsOn: ["a", "b"], triggerRule: "one_failed", queue: "none" }),
      task("late", { dependsOn: ["a"] }),
    ];
    await inTx(deps.pool, (tx) =>
      publishVersion(tx, DagSpec.parse({ id: "ready", tasks }), { file: "r.yaml", source: "", author: "test" }),
    );
    const w = await worker(deps, "w");
    const runId = await start(deps, "ready");
    await finish(deps, [failed((await claimAll(deps, w))[0]!)], "worker:w");
    expect(await states(deps, runId)).toEqual(["failed", "running", "ready", "upstream_failed"]);
    // The alarm seems to be ready since after the clear was asked for.
    await moveClock(deps, "-1 hour");
    for (const most of [5_000, 1]) {
      await ask(runId, { kind: "clear", args: { onlyFailed: true } });
      while ((await slice(runId, most)) === "open");
      expect(await states(deps, runId)).toEqual(["queued", "running", "ready", "waiting"]);
      await finish(deps, [failed((await claimAll(deps, w))[0]!)], "worker:w");
    }
  });
});

describe("a mark", () => {
  test("decides anew what was skipped or failed by its rule and never ran, through any depth", async () => {
    const { deps } = database;
    await publish(deps, "anew", { a: [], b: ["a"], c: ["b"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "anew");
    const [attempt] = await claimAll(deps, w);
    await finish(deps, [{ ...success(attempt!), state: "skipped" as const }], "worker:w");
    expect(await states(deps, runId)).toEqual(["skipped", "skipped", "skipped"]);
    await markTask(deps, attempt!.taskInstanceId, "success", anna);
    expect(await states(deps, runId)).toEqual(["success", "queued", "waiting"]);
    await nothingBroken(deps);
  });

  test("leaves what a person has marked, and what an attempt has skipped", async () => {
    const { deps } = database;
    await publish(deps, "decided", { a: [], b: ["a"], c: ["a"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "decided");
    const [first] = await claimAll(deps, w);
    await finish(deps, [success(first!)], "worker:w");
    const [b, c] = await claimAll(deps, w);
    await finish(deps, [{ ...success(b!), state: "skipped" as const }], "worker:w");
    await markTask(deps, c!.taskInstanceId, "skipped", anna);
    await markTask(deps, first!.taskInstanceId, "failed", anna);
    expect(await states(deps, runId)).toEqual(["failed", "skipped", "skipped"]);
    await nothingBroken(deps);
  });
});

describe("settling in slices", () => {
  test("goes through any depth, and another process goes on with it", async () => {
    const { deps, pool } = database;
    await publish(deps, "deep", { a: [], b: ["a"], c: ["b"], d: ["c"], e: ["d"] });
    const w = await worker(deps, "w");
    const runId = await start(deps, "deep");
    // An end without what follows from it, as a worker leaves it that is killed right after.
    await finishRunning(pool, (await claimAll(deps, w)).map(failed), "worker:w", LEASE_MS);
    const { unsettledRuns } = await settleRun(deps, runId, { most: 2 });
    expect(unsettledRuns).toEqual([runId]);
    expect(await states(deps, runId)).toEqual(["failed", "upstream_failed", "upstream_failed", "waiting", "waiting"]);
    await nothingBroken(deps);
    await sweep(another());
    expect(await runState(deps, runId)).toBe("failed");
    await nothingBroken(deps);
  });
});

describe("an item that takes longer than any statement may", () => {
  test("twice by itself is left out, and the others are done", async () => {
    const { deps, pool } = database;
    const tries: string[] = [];
    const work = async (runId: string): Promise<void> => {
      tries.push(runId);
      if (runId === "2") await timesOut();
    };
    const timesOut = async (): Promise<void> => {
      const client = await pool.connect();
      try {
        await client.query("begin; set local statement_timeout = '10ms'");
        await client.query("select pg_sleep(60)");
      } finally {
        await client.query("rollback");
        client.release();
      }
    };
    await isolatingEach(deps, "settle", ["1", "2", "3"], (id) => id, work);
    expect(tries).toEqual(["1", "2", "2", "3"]);
    expect([...(await readQuarantine(pool, "settle")).keys()]).toEqual(["2"]);
  });

  test("is not to blame when the connection was ended because this process stood still", async () => {
    const { deps, pool } = database;
    const standStill = async (): Promise<void> => {
      const client = await pool.connect();
      try {
        await client.query("begin; set local idle_in_transaction_session_timeout = '1ms'");
        await once(client, "error");
        await client.query("select 1");
      } finally {
        client.release(true);
      }
    };
    await expect(isolatingEach(deps, "actions", ["1", "2"], (id) => id, standStill)).rejects.toThrow();
    const work = async (id: string): Promise<void> => (id === "2" ? standStill() : undefined);
    await expect(isolatingEach(deps, "actions", ["1", "2"], (id) => id, work)).rejects.toThrow();
    expect(await readQuarantine(pool, "actions")).toEqual(new Map());
  });

  test("does not keep a person from cancelling the run", async () => {
    const { deps, pool } = database;
    const { runId } = await fan("quarantined");
    await putInQuarantine(pool, "actions", runId, "too slow");
    await ask(runId, { kind: "clear", args: {} });
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("running");
    await ask(runId, { kind: "cancel", args: {} });
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
    expect(await readQuarantine(pool, "actions")).toEqual(new Map());
  });
});
