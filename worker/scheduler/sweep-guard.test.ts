import { beforeEach, describe, expect, test } from "vitest";
import { guardedSweep } from "./sweep-guard.ts";

const LEASE_MS = 30_000;
const TURN_MS = 2_000;
const away = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

let nowMs: number;
let probeError: Error | undefined;
let sweepError: Error | undefined;
let sweptAtMs: number[];
let turn: () => Promise<void>;

beforeEach(() => {
  nowMs = 0;
  probeError = undefined;
  sweepError = undefined;
  sweptAtMs = [];
  turn = guardedSweep({
    leaseMs: LEASE_MS,
    probe: async () => {
      if (probeError) throw probeError;
    },
    sweep: async () => {
      sweptAtMs.push(nowMs);
      if (sweepError) throw sweepError;
    },
    nowMs: () => nowMs,
  });
});

/** Takes turns for so long; answers for how long the duty then has not been done. */
async function go(ms: number): Promise<number> {
  let doneAtMs = nowMs;
  for (const endMs = nowMs + ms; nowMs < endMs; nowMs += TURN_MS)
    await turn().then(
      () => (doneAtMs = nowMs),
      () => undefined,
    );
  return nowMs - doneAtMs;
}

describe("a sweep", () => {
  test("waits for a lease at the start, and is in time meanwhile", async () => {
    expect(await go(LEASE_MS)).toBe(TURN_MS);
    expect(sweptAtMs).toEqual([]);
    await go(3 * TURN_MS);
    expect(sweptAtMs).toHaveLength(2);
  });

  test("that always fails is late, whatever it fails with", async () => {
    await go(2 * LEASE_MS);
    for (const error of [new Error("no such column"), away]) {
      sweepError = error;
      expect(await go(10 * LEASE_MS)).toBeGreaterThan(7 * LEASE_MS);
    }
  });

  test("that fails through its data does not wait for a lease", async () => {
    await go(2 * LEASE_MS);
    sweepError = new Error("no such column");
    sweptAtMs = [];
    await go(5 * TURN_MS);
    expect(sweptAtMs).toHaveLength(5);
  });

  test("waits for a full lease after the database has come back, and counts as late only while it is away", async () => {
    await go(2 * LEASE_MS);
    probeError = sweepError = away;
    expect(await go(45_000)).toBeGreaterThan(40_000);
    probeError = sweepError = undefined;
    const backAtMs = nowMs;
    sweptAtMs = [];
    expect(await go(LEASE_MS - TURN_MS)).toBe(TURN_MS);
    expect(sweptAtMs).toEqual([]);
    await go(4 * TURN_MS);
    expect(sweptAtMs[0]! - backAtMs).toBeGreaterThan(LEASE_MS - 2 * TURN_MS);
  });

  test("that a short break of the connection has hit is not late", async () => {
    await go(2 * LEASE_MS);
    sweepError = away;
    await go(TURN_MS);
    sweepError = undefined;
    expect(await go(LEASE_MS)).toBe(TURN_MS);
  });
});
