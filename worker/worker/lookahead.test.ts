import fc from "fast-check";
import { expect, test } from "vitest";
import { createLookahead } from "./lookahead.ts";

function after(slots: number, durations: readonly number[]): number {
  const lookahead = createLookahead(slots, 100);
  for (const ms of durations) lookahead.record(ms);
  return lookahead.ahead();
}

const times = (n: number, ms: number): number[] => Array.from({ length: n }, () => ms);

test("nothing is claimed ahead before a few tasks have shown how long they take", () => {
  expect(after(4, times(7, 0.1))).toBe(0);
});

test("short tasks are claimed ahead, as many as the slots finish in a round", () => {
  expect(after(2, times(8, 0.3))).toBe(128);
  expect(after(4, times(8, 5))).toBe(64);
  expect(after(4, times(8, 500))).toBe(0);
});

test("one slow start does not make short tasks long, and one short task not long ones short", () => {
  expect(after(2, [150, ...times(7, 0.3)])).toBe(128);
  expect(after(2, [0.1, ...times(7, 500)])).toBe(0);
});

test("a task that held up what was claimed ahead makes the worker careful again", () => {
  const lookahead = createLookahead(4, 100);
  for (const ms of times(8, 1)) lookahead.record(ms);
  lookahead.forget();
  expect(lookahead.ahead()).toBe(0);
});

test("it is never more than the slots finish in a round, nor more than its bound", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.double({ min: 0, max: 1e6, noNaN: true }), (slots, ms) => {
      const ahead = after(slots, times(8, ms));
      expect(ahead).toBeLessThanOrEqual(128);
      expect(ahead * ms).toBeLessThanOrEqual(slots * 100);
    }),
  );
});
