import { expect, test } from "vitest";
import type { Outcome } from "#lib/executors/executor.ts";
import { runWithin } from "./run-within.ts";

const NEVER = new AbortController().signal;
const success: Outcome = { kind: "success", output: 1 };

/** Ends well, but only once it was told to stop. */
const shrugging = (signal: AbortSignal): Promise<Outcome> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve({ ...success, usage: { cpuMs: 7 } })));

test("what ends in time is its outcome", async () => {
  expect(await runWithin({ timeout: "1m" }, NEVER, async () => success)).toBe(success);
});

test("what ends well after its timeout has timed out, with what it used", async () => {
  expect(await runWithin({ timeout: "50ms" }, NEVER, shrugging)).toEqual({
    kind: "failed",
    reason: "TIMEOUT",
    error: "the attempt took longer than its timeout of 50ms",
    usage: { cpuMs: 7 },
  });
});

test("what does not end is not waited for, and may fail later without anybody hearing of it", async () => {
  const later = Promise.withResolvers<Outcome>();
  const stop = new AbortController();
  const ended = runWithin({ timeout: "1m" }, stop.signal, () => later.promise);
  stop.abort();
  expect(await ended).toMatchObject({ kind: "failed", reason: "CANCELLED" });
  later.reject(new Error("late"));
  expect(await runWithin({ timeout: "50ms" }, NEVER, () => new Promise(() => undefined))).toMatchObject({
    reason: "TIMEOUT",
  });
}, 30_000);

test("what throws, throws", async () => {
  await expect(runWithin({ timeout: "1m" }, NEVER, () => Promise.reject(new Error("a bug")))).rejects.toThrow("a bug");
});
