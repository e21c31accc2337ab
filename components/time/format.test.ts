import { expect, test } from "vitest";
import { formatClock, formatDistance, formatDuration, formatTime, spanMs } from "./format.ts";

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

test.each([
  [999, "0s"],
  [59_900, "59s"],
  [3_599_000, "59m"],
  [11_045_000, "3h 04m"],
  [2 * 86_400_000 + 3 * 3_600_000, "2d 3h"],
  [45.9 * 86_400_000, "45d"],
])("%d ms away is %s", (ms, text) => {
  expect(formatDistance(ms)).toBe(text);
});

test.each([
  ["2026-03-11T09:00:00+01:00", "Wed 2026-03-11 09:00"],
  ["2026-10-25T00:30:12-03:30", "Sun 2026-10-25 00:30:12"],
  ["2026-03-11T08:00:00.000Z", "Wed 2026-03-11 08:00"],
])("clocks show %s as %s", (iso, text) => {
  expect(formatClock(iso)).toBe(text);
});

test("a time is written in UTC", () => {
  expect(formatTime("2026-11-23T12:04:05.678Z")).toBe("2026-11-23 12:04:05");
});

test("what has no end yet lasts until now", () => {
  const start = "2026-11-23T12:00:00.000Z";
  expect(spanMs(start, null, Date.parse(start) + 500)).toBe(500);
  expect(spanMs(start, "2026-11-23T12:00:02.000Z", 0)).toBe(2_000);
});
