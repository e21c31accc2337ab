import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { timeoutSignal } from "./timeout-signal.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const DAY_MS = 24 * 60 * 60 * 1000;

test.each([1, 30, 60, 3_650])("aborts after %d days and not before", (days) => {
  const { signal } = timeoutSignal(days * DAY_MS);
  vi.advanceTimersByTime(days * DAY_MS - 1);
  expect(signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(signal.aborted).toBe(true);
});

test("does not abort once it is cleared, in whichever part of a long time", () => {
  const { signal, clear } = timeoutSignal(60 * DAY_MS);
  vi.advanceTimersByTime(40 * DAY_MS);
  clear();
  vi.advanceTimersByTime(40 * DAY_MS);
  expect([signal.aborted, vi.getTimerCount()]).toEqual([false, 0]);
});
