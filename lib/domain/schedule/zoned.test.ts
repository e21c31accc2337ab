import { expect, test } from "vitest";
import { zoneOf } from "./zone.ts";
import { zonedText } from "./zoned.ts";

test.for([
  ["UTC", "2026-03-30T07:00:00Z", "2026-03-30T07:00:00+00:00"],
  ["Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00+02:00"],
  ["Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00"],
  ["America/St_Johns", "2026-01-01T02:00:00.900Z", "2025-12-31T22:30:00-03:30"],
  ["Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01T05:45:00+05:45"],
] as const)("in %s, %s is %s", ([zone, at, text]) => {
  expect(zonedText(zoneOf(zone), new Date(at))).toBe(text);
  expect(Date.parse(text)).toBe(Math.floor(Date.parse(at) / 1_000) * 1_000);
});
