import { randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { finishRunning } from "#lib/db/finishes.ts";
import { upsertPool } from "#lib/db/pools.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, keepsLease, registration, start, success } from "#lib/testing/engine.ts";
import { admit, admitLeft } from "./admit.ts";
import { claim } from "./claim.ts";
import { registerWorker } from "./register-worker.ts";

/** What only some workers can run waits for a slot of theirs: what any worker can run leaves it that slot. */

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

async function define(id: string, tasks: Record<string, object>, limits: object = {}): Promise<void> {
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

async function workerOf(id: string, slots: number, offers: string[]): Promise<WorkerRef> {
  const ref = await registerWorker(database.deps, { ...registration(id, slots), offers });
  await keepsLease(database.deps, ref);
  return ref;
}

const CHAIN_LENGTH = 40;
const chain = Object.fromEntries(
  Array.from({ length: CHAIN_LENGTH }, (_, n) => [
    `t${n}`,
    { priority: "low", dependsOn: n === 0 ? [] : [`t${n - 1}`] },
  ]),
);
const backlog = Object.fromEntries(Array.from({ length: CHAIN_LENGTH }, (_, n) => [`t${n}`, { priority: "low" }]));

const next = () => ({ attemptId: randomUUID(), token: randomUUID() });

type Held = Pick<Claimed, "taskInstanceId" | "token">;

/** Ends what the worker runs, one attempt after the other, until it has the task; returns how many ended before. */
async function endsBefore(ref: WorkerRef, slots: number, running: Held[], dagId: string): Promise<number> {
  const { deps, pool } = database;
  for (let ended = 1; ended < CHAIN_LENGTH; ended++) {
    const end = await finishRunning(pool, [{ ...success(running.shift()!), next: next() }], `worker:${ref.id}`, 30_000);
    running.push(...end.continued.values());
    // Before the pass for which the end asks: the worker takes at once what is handed over already.
    const claimed = await claimSome(deps, ref, slots - running.length);
    if (claimed.some((one) => one.dagId === dagId)) return ended;
    running.push(...claimed);
    if (end.callsForAdmission) await admit(deps);
    const passed = await claimSome(deps, ref, slots - running.length);
    if (passed.some((one) => one.dagId === dagId)) return ended;
    running.push(...passed);
  }
  return CHAIN_LENGTH;
}

test.each([
  ["a label", "a chain", { workerLabels: ["gpu"] }, chain],
  ["a label", "a backlog", { workerLabels: ["gpu"] }, backlog],
  ["memory", "a backlog", { resources: { memory: "64Mi" } }, backlog],
])("a high task that needs %s does not starve behind %s of low ones", async (_, __, task, others) => {
  const { deps } = database;
  const slots = 2;
  await define("plain", others);
  await define("certain", { t: { priority: "high", ...task } });
  const ref = await workerOf("w", slots, ["gpu"]);
  for (let n = 0; n < slots; n++) await start(deps, "plain");
  await admitLeft(deps);
  const running = await claimSome(deps, ref, slots);
  expect(running).toHaveLength(slots);
  await start(deps, "certain");
  await admitLeft(deps);
  // What is handed over already, and one task of each lower priority (docs/fairness.md).
  expect(await endsBefore(ref, slots, running, "certain")).toBeLessThanOrEqual(3);
});

test("chains continue on workers that cannot run what waits", async () => {
  const { deps, pool } = database;
  await define("plain", chain);
  await define("certain", { t: { workerLabels: ["gpu"] } });
  const gpu = await workerOf("gpu", 1, ["gpu"]);
  const other = await workerOf("other", 1, []);
  for (let n = 0; n < 2; n++) await start(deps, "plain");
  await admitLeft(deps);
  const [mine] = await claimSome(deps, gpu, 1);
  const [its] = await claimSome(deps, other, 1);
  await start(deps, "certain");
  await admitLeft(deps);
  const ends = [mine!, its!].map((one) => ({ ...success(one), next: next() }));
  const { continued } = await finishRunning(pool, ends, "worker:w", 30_000);
  expect([...continued.keys()]).toEqual([its!.taskInstanceId]);
});

test.each([
  ["a pool", { pool: "licence" }, {}],
  ["a limit of their DAG", {}, { maxActiveTasks: 1 }],
])("chains continue on workers that could run what waits for %s", async (_, options, limits) => {
  const { deps, pool } = database;
  await upsertPool(pool, "licence", 1, undefined);
  await define("plain", chain);
  const certain = { workerLabels: ["gpu"], ...options };
  await define("certain", { a: certain, b: certain }, limits);
  const gpu = await workerOf("gpu", 2, ["gpu"]);
  await start(deps, "certain");
  await admitLeft(deps);
  expect(await claimSome(deps, gpu, 1)).toHaveLength(1);
  await start(deps, "plain");
  await admitLeft(deps);
  const [step] = await claimSome(deps, gpu, 1);
  await admitLeft(deps);
  const { continued } = await finishRunning(pool, [{ ...success(step!), next: next() }], "worker:gpu", 30_000);
  expect(continued.size).toBe(1);
});

test("chains continue in slots of another class than those that are waited for", async () => {
  const { deps, pool } = database;
  await define("plain", { a: {} });
  await define("certain", { t: { workerLabels: ["gpu"] } });
  const noop = { type: "noop", config: {} };
  await define("inline", { a: noop, b: { ...noop, dependsOn: ["a"] } });
  const gpu = await workerOf("gpu", 1, ["gpu"]);
  await start(deps, "plain");
  await start(deps, "inline");
  await admitLeft(deps);
  await claimSome(deps, gpu, 1);
  const { claimed } = await claim(deps, gpu, { queues: ["default"], slotClass: "inline" }, [randomUUID()]);
  await start(deps, "certain");
  await admitLeft(deps);
  await admitLeft(deps);
  const { continued } = await finishRunning(pool, [{ ...success(claimed[0]!), next: next() }], "worker:gpu", 30_000);
  expect(continued.size).toBe(1);
});

test("the window is back when nothing waits for a certain worker any more", async () => {
  const { deps, pool } = database;
  const room = async (): Promise<number> =>
    (
      await pool.query<{ room: number }>(
        "select room from sluice.lane where queue = 'default' and slot_class = 'process'",
      )
    ).rows[0]!.room;
  await define("plain", backlog);
  await define("certain", { t: { priority: "high", workerLabels: ["gpu"] } });
  const ref = await workerOf("w", 8, ["gpu"]);
  await start(deps, "plain");
  await admitLeft(deps);
  expect(await room()).toBe(10);
  const running = await claimSome(deps, ref, 8);
  await start(deps, "certain");
  await admitLeft(deps);
  await admitLeft(deps);
  expect(await room()).toBe(8);
  expect(await endsBefore(ref, 8, running, "certain")).toBeLessThanOrEqual(5);
  await admitLeft(deps);
  await admitLeft(deps);
  expect(await room()).toBe(10);
});
