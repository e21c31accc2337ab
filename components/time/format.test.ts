import { expect, test } from "vitest";
import { formatDuration, formatTime, spanMs } from "./format.ts";

test.each([
  [-5, "0.00s"],
  [420, "0.42s"],
  [1_240, "1.2s"],
  [12_900, "12s"],
  [72_000, "1m 12s"],
  [61_000, "1m 01s"],
  [11_045_000, "3h 04m"],
])("%d ms reads %s", (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test("a time is written in UTC", () => {
  expect(formatTime("2026-11-23T12:04:05.678Z")).toBe("2026-11-23 12:04:05");
});

test("what has no end yet lasts until now", () => {
  const start = "2026-11-23T12:00:00.000Z";
  expect(spanMs(start, null, Date.parse(start) + 500)).toBe(500);
  expect(spanMs(start, "2026-11-23T12:00:02.000Z", 0)).toBe(2_000);
});
