import { afterEach, beforeEach, expect, test } from "vitest";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { PROTOCOL } from "#lib/domain/protocol.ts";
import { claimAll, forgetRuns, publish, start, worker } from "#lib/testing/engine.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { type Heart, startHeart } from "./heart.ts";

const database = testDatabase();
const BEAT_MS = 100;
const onDeath = (error: Error | undefined): never => expect.fail(`the heart stopped: ${error?.message}`);
let heart: Heart;
let ref: WorkerRef;
let attempt: Claimed;

beforeEach(async () => {
  const { deps, url } = database;
  await forgetRuns(deps);
  await publish(deps, "beat", { a: [] });
  ref = await worker(deps, "w");
  await start(deps, "beat");
  attempt = (await claimAll(deps, ref))[0]!;
  heart = startHeart({ url, worker: ref, registeredMsAgo: 0, beatMs: BEAT_MS, onDeath });
});
afterEach(() => heart.stop());

async function leases(): Promise<Date[]> {
  const { rows } = await database.pool.query<{ until: Date }>(
    "select lease_until as until from sluice.worker union all select lease_until from sluice.live_attempt",
  );
  return rows.map(({ until }) => until);
}

/** As a task's output of many megabytes, or a large answer, may keep it. */
function keepBusy(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test("renews the leases of the worker and of what it holds", async () => {
  const before = await leases();
  const beat = await heart.beat([attempt]);
  expect(beat).toEqual({
    workerState: "active",
    held: [attempt.token],
    assigned: [],
    protocol: { min: PROTOCOL, max: PROTOCOL },
  });
  expect((await leases()).every((until, index) => until > before[index]!)).toBe(true);
});

test("goes on while the worker's event loop is busy, with what it knew to be held", async () => {
  await heart.beat([]);
  heart.know([attempt]);
  const before = await leases();
  keepBusy(15 * BEAT_MS);
  expect(heart.age()).toBeLessThan(10 * BEAT_MS);
  for (const [index, until] of (await leases()).entries())
    expect(until.getTime() - before[index]!.getTime()).toBeGreaterThan(5 * BEAT_MS);
});

test("tells a worker whose name another process has taken, and one that asks after the end", async () => {
  await worker(database.deps, "w");
  expect((await heart.beat([attempt])).workerState).toBeUndefined();
  await heart.stop();
  await expect(heart.beat([])).rejects.toThrow("the worker stops");
});

test("an age counts from what the database has confirmed", async () => {
  await heart.stop();
  const nowhere = new URL(database.url);
  nowhere.port = "1";
  heart = startHeart({ url: nowhere.href, worker: ref, registeredMsAgo: 7_000, beatMs: BEAT_MS, onDeath });
  await expect(heart.beat([attempt])).rejects.toThrow();
  expect(heart.age()).toBeGreaterThan(7_000);
});
