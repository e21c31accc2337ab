import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import { type Continued, type Finished, finishRunning } from "#lib/db/finishes.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { setWorkerState } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  claimSome,
  failed,
  runState,
  start,
  states,
  success,
  worker,
  forgetRuns,
} from "#lib/testing/engine.ts";
import { movesOf } from "#lib/testing/moves.ts";
import { admitLeft } from "./admit.ts";
import { finish } from "./finish.ts";
import { pauseDag } from "./pause.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

type Task = { dependsOn?: string[]; pool?: string; priority?: string };

async function define(id: string, tasks: Record<string, Task>, limits: object = {}): Promise<void> {
  const spec = DagSpec.parse({
    id,
    limits,
    tasks: Object.entries(tasks).map(([task, options]) => ({
      id: task,
      type: "bash",
      config: { command: "true" },
      ...options,
    })),
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** Hands in successes whose worker would go on. */
function end(...attempts: Pick<Continued, "taskInstanceId" | "token">[]): Promise<Finished> {
  const batch = attempts.map((attempt) => ({
    ...success(attempt),
    next: { attemptId: randomUUID(), token: randomUUID() },
  }));
  return finishRunning(database.pool, batch, "worker:w", 30_000);
}

const names = ({ continued }: Finished): string[] => [...continued.values()].map((next) => next.taskId);
const A_THEN_B = { a: {}, b: { dependsOn: ["a"] } };

describe("a child goes on in its parent's slot", () => {
  test("claimed, leased and told in the statement that ends the parent, to the end of the run", async () => {
    const { deps, pool } = database;
    await define("chain", { a: {}, b: { dependsOn: ["a"] }, c: { dependsOn: ["b"] } });
    const w = await worker(deps, "w");
    const runId = await start(deps, "chain");
    const [a] = await claimAll(deps, w);
    const first = await end(a!);
    expect(names(first)).toEqual(["b"]);
    expect(first.callsForAdmission).toBe(false);
    expect(await states(deps, runId)).toEqual(["success", "running", "waiting"]);
    const b = first.continued.get(a!.taskInstanceId)!;
    const { rows } = await pool.query("select state, worker_id, token::text from sluice.live_attempt");
    expect(rows).toEqual([{ state: "running", worker_id: "w", token: b.token }]);
    expect(await movesOf(pool, b.taskInstanceId)).toEqual([
      { from: "waiting", to: "running", attempt: 1, reason: "CONTINUED", actor: "worker:w" },
    ]);
    const second = await end(b);
    const last = await end(second.continued.get(b.taskInstanceId)!);
    // Nothing waits for the slot that falls free.
    expect(last.callsForAdmission).toBe(false);
    expect(await states(deps, runId)).toEqual(["success", "success", "success"]);
    expect(await runState(deps, runId)).toBe("success");
  });

  test("one child for each slot; the others are admitted in the same statement", async () => {
    const { deps } = database;
    await define("fan", { a: {}, b: { dependsOn: ["a"] }, c: { dependsOn: ["a"] }, d: { dependsOn: ["a"] } });
    const w = await worker(deps, "w");
    const runId = await start(deps, "fan");
    const [a] = await claimAll(deps, w);
    const finished = await end(a!);
    expect(names(finished)).toEqual(["b"]);
    expect([finished.callsForAdmission, finished.lanes]).toEqual([false, ["default.process"]]);
    expect(await states(deps, runId)).toEqual(["success", "running", "queued", "queued"]);
  });

  test("a join goes on with the last of its parents only", async () => {
    const { deps } = database;
    await define("join", { a: {}, b: {}, c: { dependsOn: ["a", "b"] } });
    const w = await worker(deps, "w");
    await start(deps, "join");
    const [a, b] = await claimAll(deps, w);
    expect(names(await end(a!))).toEqual([]);
    expect(names(await end(b!))).toEqual(["c"]);
  });

  test("a fenced end in the batch counts for nothing", async () => {
    const { deps } = database;
    await define("fenced", { a: {}, b: {}, c: { dependsOn: ["a", "b"] } });
    const w = await worker(deps, "w");
    const runId = await start(deps, "fenced");
    const [a, b] = await claimAll(deps, w);
    const finished = await end({ ...a!, token: randomUUID() }, b!);
    expect(finished.accepted).toEqual([b!.taskInstanceId]);
    expect(names(finished)).toEqual([]);
    expect(await states(deps, runId)).toEqual(["running", "success", "waiting"]);
    expect(names(await end(a!))).toEqual(["c"]);
  });
});

describe("what waits for a full lane", () => {
  /** A run whose first task runs, and others of these DAGs that wait for the worker's only slot. */
  async function full(dagId: string, ...others: readonly string[]): Promise<Claimed> {
    const { deps } = database;
    const w = await worker(deps, "w", 1);
    await start(deps, dagId);
    const [a] = await claimAll(deps, w);
    for (const other of others) for (let n = 0; n < 3; n++) await start(deps, other);
    await admitLeft(deps);
    const { rows } = await database.pool.query<{ key: string }>("select key from sluice.contention");
    expect(rows).toEqual([{ key: expect.stringMatching(/^lane:/) }]);
    return a!;
  }

  test("lets a child continue when it is of its own class and younger", async () => {
    await define("same", A_THEN_B, { maxActiveRuns: 9 });
    expect(names(await end(await full("same", "same")))).toEqual(["b"]);
  });

  test("keeps a child from continuing when it is of another class, whichever was made first", async () => {
    await define("first", A_THEN_B, { maxActiveRuns: 9 });
    await define("second", A_THEN_B, { maxActiveRuns: 9 });
    expect(names(await end(await full("first", "first", "second")))).toEqual([]);
    await forgetRuns(database.deps);
    expect(names(await end(await full("second", "second", "first")))).toEqual([]);
  });
});

describe("a child does not go on in its parent's slot", () => {
  /** Starts the DAG, does something while `a` runs, and answers what `a`'s end goes on with. */
  async function afterA(dagId: string, meanwhile: () => Promise<unknown> = () => Promise.resolve()): Promise<string[]> {
    const w = await worker(database.deps, "w");
    await start(database.deps, dagId);
    const a = (await claimAll(database.deps, w)).find((attempt) => attempt.taskId === "a");
    await meanwhile();
    return names(await end(a!));
  }

  test("when the parent failed", async () => {
    const { deps } = database;
    await define("failing", { a: {}, b: { dependsOn: ["a"] } });
    const w = await worker(deps, "w");
    await start(deps, "failing");
    const [a] = await claimAll(deps, w);
    const next = { attemptId: randomUUID(), token: randomUUID() };
    const finished = await finishRunning(database.pool, [{ ...failed(a!), next }], "worker:w", 30_000);
    expect(names(finished)).toEqual([]);
  });

  test("when its DAG is paused", async () => {
    await define("paused", A_THEN_B);
    expect(await afterA("paused", () => pauseDag(database.deps, "paused", "anna"))).toEqual([]);
  });

  test("when its worker drains", async () => {
    await define("draining", A_THEN_B);
    const drain = (): Promise<unknown> => setWorkerState(database.pool, { id: "w", epoch: "1" }, "draining");
    expect(await afterA("draining", drain)).toEqual([]);
  });

  test("when it takes another pool than its parent", async () => {
    await database.pool.query("insert into sluice.pool (name, slots) values ('other', 9) on conflict do nothing");
    await define("other-pool", { a: {}, b: { dependsOn: ["a"], pool: "other" } });
    expect(await afterA("other-pool")).toEqual([]);
  });

  test("when its pool was made smaller than what runs", async () => {
    await database.pool.query("insert into sluice.pool (name, slots) values ('shrunk', 1)");
    await define("shrunk", { a: { pool: "shrunk" }, b: { dependsOn: ["a"], pool: "shrunk" } });
    const shrink = (): Promise<unknown> =>
      database.pool.query("update sluice.pool set slots = 0 where name = 'shrunk'");
    expect(await afterA("shrunk", shrink)).toEqual([]);
  });

  test("when its DAG's limit was lowered below what runs", async () => {
    await define("lowered", { a: {}, x: {}, b: { dependsOn: ["a"] } });
    const lower = (): Promise<unknown> => define("lowered", { a: {}, x: {}, b: {} }, { maxActiveTasks: 1 });
    expect(await afterA("lowered", lower)).toEqual([]);
  });

  test("when another DAG's task is ready for the lane", async () => {
    const { deps } = database;
    await define("mine", A_THEN_B);
    await define("theirs", { x: {} });
    const w = await worker(deps, "w", 1);
    await start(deps, "mine");
    const [a] = await claimAll(deps, w);
    await start(deps, "theirs");
    expect(names(await end(a!))).toEqual([]);
  });

  test("when something more urgent is unlocked with it", async () => {
    await define("urgent", { a: {}, b: { dependsOn: ["a"] }, c: { dependsOn: ["a"], priority: "high" } });
    expect(await afterA("urgent")).toEqual([]);
  });

  test("when an older task of its kind is handed over and not taken", async () => {
    const { deps } = database;
    await define("older", A_THEN_B);
    const w = await worker(deps, "w");
    await start(deps, "older");
    await start(deps, "older");
    const all = await claimSome(deps, w, 1);
    const second = await claimSome(deps, w, 1);
    // The first run's `a` goes back: it is older than the second run's `b`.
    await finish(deps, [{ ...failed(all[0]!), retryInMs: 0 }], "worker:w");
    expect(names(await end(second[0]!))).toEqual([]);
  });
});
