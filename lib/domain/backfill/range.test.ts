import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DAY_MS } from "../schedule/zone.ts";
import { rangeOf } from "./range.ts";

const rangeText = (start: string, end: string, zone = "UTC"): string => {
  const read = rangeOf(start, end, zone);
  return read.ok ? `${read.range.start.toISOString()} ${read.range.end.toISOString()}` : read.problem;
};

describe("a range", () => {
  test.each([
    ["2024-01-01", "2024-01-31", "UTC", "2024-01-01T00:00:00.000Z 2024-01-31T23:59:59.999Z"],
    ["2024-01-01", "2024-01-01", "Europe/Berlin", "2023-12-31T23:00:00.000Z 2024-01-01T22:59:59.999Z"],
    // A day of 23 hours, and one of 25.
    ["2024-03-31", "2024-03-31", "Europe/Berlin", "2024-03-30T23:00:00.000Z 2024-03-31T21:59:59.999Z"],
    ["2024-10-27", "2024-10-27", "Europe/Berlin", "2024-10-26T22:00:00.000Z 2024-10-27T22:59:59.999Z"],
    ["2024-01-01T06:00", "2024-01-01 07:30:15.5", "Europe/Berlin", "2024-01-01T05:00:00.000Z 2024-01-01T06:30:15.500Z"],
    // An hour that comes twice is meant with both passes.
    ["2024-10-27T02:30", "2024-10-27T02:30", "Europe/Berlin", "2024-10-27T00:30:00.000Z 2024-10-27T01:30:00.000Z"],
    [
      "2024-01-01T06:00Z",
      "2024-01-01T06:00-05:30",
      "Europe/Berlin",
      "2024-01-01T06:00:00.000Z 2024-01-01T11:30:00.000Z",
    ],
  ])("from %s to %s in %s", (start, end, zone, is) => {
    expect(rangeText(start, end, zone)).toBe(is);
  });

  test.each([
    ["2024-02-30", "2024-03-01", 'start "2024-02-30" is no date or time: it should look like 2026-01-31'],
    ["2024-01-01", "2024-01-01T24:00", 'end "2024-01-01T24:00" is no date or time'],
    ["2024-01-01", "yesterday", 'end "yesterday" is no date or time'],
    ["0024-01-01", "2024-01-01", 'start "0024-01-01" is no date or time'],
    ["2024-01-02", "2024-01-01", "the start 2024-01-02 is after the end 2024-01-01"],
  ])("from %s to %s is none", (start, end, problem) => {
    expect(rangeText(start, end)).toContain(problem);
  });

  test("of one day after another is whole, in any zone", () => {
    const zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"];
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 10_000, max: 25_000 }), (zone, day) => {
        const [one, two] = [day, day + 1].map((at) => new Date(at * DAY_MS).toISOString().slice(0, 10));
        const read = [rangeOf(one!, one!, zone), rangeOf(two!, two!, zone)];
        expect(read.map(({ ok }) => ok)).not.toContain(false);
        if (!read[0]!.ok || !read[1]!.ok) return;
        expect(read[1]!.range.start.getTime() - read[0]!.range.end.getTime()).toBe(1);
      }),
    );
  });
});
