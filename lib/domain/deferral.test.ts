import fc from "fast-check";
import { expect, test } from "vitest";
import { MIN_LOOK_MS, nextLook } from "./deferral.ts";

const after = (afterMs: number, reason = "no file"): { afterMs: number; reason: string } => ({ afterMs, reason });

test("an attempt looks again when it says so, and at the end of its timeout for the last time", () => {
  expect(nextLook("1h", 0, after(30_000))).toEqual({ again: true, afterMs: 30_000, reason: "no file" });
  expect(nextLook("1h", 3_590_000, after(30_000))).toMatchObject({ again: true, afterMs: 10_000 });
  expect(nextLook("1h", 0, after(Number.POSITIVE_INFINITY))).toMatchObject({ again: true, afterMs: 3_600_000 });
  const tooLong = { again: false, error: "it waited for its timeout of 1h, and still: no file" };
  expect(nextLook("1h", 3_600_000, after(30_000))).toEqual(tooLong);
  // Nobody looked for a day, because the DAG was paused: that look was done, and is the last.
  expect(nextLook("1h", 90_000_000, after(1_000))).toEqual(tooLong);
});

test("whatever is asked for, the next look is a second away at least, at a whole millisecond, and within the timeout", () => {
  const numbers = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(Number.NaN, -1, 0, 0.5, 1e300));
  fc.assert(
    fc.property(numbers, fc.double({ min: 0, max: 7_200_000, noNaN: true }), (asked, waited) => {
      const verdict = nextLook("1h", waited, after(asked));
      expect(verdict.again).toBe(waited < 3_600_000);
      if (!verdict.again) return;
      expect(Number.isSafeInteger(verdict.afterMs)).toBe(true);
      expect(verdict.afterMs).toBeGreaterThanOrEqual(MIN_LOOK_MS);
      expect(verdict.afterMs).toBeLessThanOrEqual(Math.max(MIN_LOOK_MS, Math.ceil(3_600_000 - waited)));
    }),
  );
});

test("what it waits for is short, and a text that the database can store", () => {
  expect(nextLook("1h", 0, after(1, "a\0b\uD800"))).toMatchObject({ reason: "a\uFFFDb\uFFFD" });
  expect(nextLook("1h", 0, after(1, "x".repeat(9_999)))).toMatchObject({ reason: "x".repeat(500) });
});
