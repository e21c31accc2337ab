import { describe, expect, test } from "vitest";
import { GOLDEN_FROM, GOLDEN_TO, readGolden, scan } from "#lib/testing/schedule-golden.ts";
import { backwards, forwards, seriesOf } from "#lib/testing/schedule-walk.ts";
import { zoneOf } from "./zone.ts";

const MINUTE = 60_000;

const golden = readGolden();
const ZONES = [...new Set(golden.map(({ zone }) => zone))];

test("the tables are of thirty zones, and not empty", () => {
  expect(ZONES).toHaveLength(30);
  for (const { due } of golden) expect(due.length).toBeGreaterThan(2_600);
});

describe("ten years of a clock that was looked at every minute", () => {
  test.for(golden)("$zone, $cron", ({ zone, cron, due }) => {
    const series = seriesOf(cron, zone);
    // Compared as texts: a difference of long lists takes the runner seconds to show.
    expect(forwards(series, GOLDEN_FROM, GOLDEN_TO).join()).toBe(due.join());
    if (due.length < 10_000) expect(backwards(series, GOLDEN_FROM, GOLDEN_TO).join()).toBe(due.join());
  });
});

test("clocks of this year and the next, looked at around every change", () => {
  for (const zone of ZONES) {
    const changes = zoneOf(zone).changesIn(Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1));
    for (const { at } of changes) {
      const [from, to] = [at / MINUTE - 1_500, at / MINUTE + 1_500];
      for (const [cron, due] of scan(zone, from, to)) {
        const series = seriesOf(cron, zone);
        expect([zone, cron, forwards(series, from, to)]).toEqual([zone, cron, due]);
        expect([zone, cron, backwards(series, from, to)]).toEqual([zone, cron, due]);
      }
    }
  }
});
