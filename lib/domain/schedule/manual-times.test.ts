import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ScheduleSpec } from "../model/schedule.ts";
import { type CompiledSchedule, compileSchedule, type ScheduleSettings } from "./compile.ts";
import { manualTimes } from "./manual-times.ts";

const compiled = (spec: ScheduleSpec, dates: Partial<ScheduleSettings> = {}): CompiledSchedule =>
  compileSchedule(spec, {
    dagId: "etl",
    timezone: "Europe/Berlin",
    calendars: { holidays: { dates: ["2026-05-14 Ascension Day"] } },
    ...dates,
  });

/** `2026-03-28T01:30Z to 2026-03-29T01:00Z`; `none` when it is about no time. */
function interval(schedules: readonly CompiledSchedule[], given: { now: string } | { logicalDate: string }): string {
  const text = "now" in given ? given.now : given.logicalDate;
  const logicalDate = "logicalDate" in given ? new Date(given.logicalDate) : undefined;
  const times = manualTimes(schedules, {
    logicalDate,
    now: new Date("now" in given ? given.now : "2040-01-01T00:00Z"),
  });
  expect(times.logicalDate).toEqual(new Date(text));
  const [start, end] = [times.intervalStart, times.intervalEnd].map((time) =>
    time.toISOString().replace(":00.000", ""),
  );
  return start === end ? "none" : `${start} to ${end}`;
}

const NIGHTLY = { cron: "30 2 * * *" };
const HOURLY = { cron: "0 * * * *" };
const WORKDAYS = { cron: "0 9 * * 1-5", calendar: { except: ["holidays"] } };
const HALF_HOURS_OF_TWO = { cron: "*/30 2 * * *" };

describe("a run without a logical date", () => {
  test.for<[ScheduleSpec, string, string]>([
    [NIGHTLY, "2026-06-10T12:00Z", "2026-06-09T00:30Z to 2026-06-10T00:30Z"],
    // At the very instant, and a moment before.
    [NIGHTLY, "2026-06-10T00:30:00.000Z", "2026-06-09T00:30Z to 2026-06-10T00:30Z"],
    [NIGHTLY, "2026-06-10T00:29:59.999Z", "2026-06-08T00:30Z to 2026-06-09T00:30Z"],
    [WORKDAYS, "2026-06-14T12:00Z", "2026-06-11T07:00Z to 2026-06-12T07:00Z"],
    [WORKDAYS, "2026-06-15T08:00Z", "2026-06-12T07:00Z to 2026-06-15T07:00Z"],
    [WORKDAYS, "2026-05-15T08:00Z", "2026-05-13T07:00Z to 2026-05-15T07:00Z"],
    [{ every: "6h" }, "2026-06-10T13:00Z", "2026-06-10T06:00Z to 2026-06-10T12:00Z"],
    // 02:30 does not exist on 29 March: the day is over at 03:00, and the next one is short.
    [NIGHTLY, "2026-03-29T00:59Z", "2026-03-27T01:30Z to 2026-03-28T01:30Z"],
    [NIGHTLY, "2026-03-29T01:00Z", "2026-03-28T01:30Z to 2026-03-29T01:00Z"],
    [NIGHTLY, "2026-03-30T12:00Z", "2026-03-29T01:00Z to 2026-03-30T00:30Z"],
    // 02:30 comes twice on 25 October, and the first is meant.
    [NIGHTLY, "2026-10-25T01:45Z", "2026-10-24T00:30Z to 2026-10-25T00:30Z"],
    [NIGHTLY, "2026-10-26T12:00Z", "2026-10-25T00:30Z to 2026-10-26T01:30Z"],
    [HOURLY, "2026-03-29T01:10Z", "2026-03-29T00:00Z to 2026-03-29T01:00Z"],
    [HOURLY, "2026-10-25T01:10Z", "2026-10-25T00:00Z to 2026-10-25T01:00Z"],
    [HALF_HOURS_OF_TWO, "2026-03-29T12:00Z", "2026-03-28T01:00Z to 2026-03-28T01:30Z"],
    [HALF_HOURS_OF_TWO, "2026-10-25T01:10Z", "2026-10-25T00:30Z to 2026-10-25T01:00Z"],
  ])("of %j at %s is about the last interval that is over", ([spec, now, expected]) => {
    expect(interval([compiled(spec)], { now })).toBe(expected);
  });

  test("of several schedules is about the interval that ended last, of the first when they ended together", () => {
    const both = [compiled(NIGHTLY), compiled(WORKDAYS)];
    expect(interval(both, { now: "2026-06-10T06:00Z" })).toBe("2026-06-09T00:30Z to 2026-06-10T00:30Z");
    expect(interval(both, { now: "2026-06-10T08:00Z" })).toBe("2026-06-09T07:00Z to 2026-06-10T07:00Z");
    const together = [compiled({ every: "1h" }), compiled({ every: "2h" })];
    expect(interval(together, { now: "2026-06-10T04:30Z" })).toBe("2026-06-10T03:00Z to 2026-06-10T04:00Z");
    expect(interval(together.toReversed(), { now: "2026-06-10T04:30Z" })).toBe(
      "2026-06-10T02:00Z to 2026-06-10T04:00Z",
    );
  });

  test("is about no time without a schedule, and before the first interval is over", () => {
    expect(interval([], { now: "2026-06-10T12:00Z" })).toBe("none");
    const later = compiled(NIGHTLY, { startDate: "2026-07-01T00:00:00.000Z" });
    expect(interval([later], { now: "2026-06-10T12:00Z" })).toBe("none");
  });

  test("is about the last interval there was after the end date", () => {
    const over = compiled(NIGHTLY, { endDate: "2026-05-01T00:00:00.000Z" });
    expect(interval([over], { now: "2026-06-10T12:00Z" })).toBe("2026-04-29T00:30Z to 2026-04-30T00:30Z");
  });
});

describe("a run with a logical date", () => {
  test.for<[ScheduleSpec, string, string]>([
    [NIGHTLY, "2026-06-10T00:30Z", "2026-06-10T00:30Z to 2026-06-11T00:30Z"],
    [NIGHTLY, "2026-06-10T00:31Z", "none"],
    [NIGHTLY, "2026-06-10T00:30:00.001Z", "none"],
    [WORKDAYS, "2026-06-12T07:00Z", "2026-06-12T07:00Z to 2026-06-15T07:00Z"],
    [WORKDAYS, "2026-05-14T07:00Z", "none"],
    [NIGHTLY, "2026-03-28T01:30Z", "2026-03-28T01:30Z to 2026-03-29T01:00Z"],
    [NIGHTLY, "2026-03-29T01:00Z", "2026-03-29T01:00Z to 2026-03-30T00:30Z"],
    [NIGHTLY, "2026-03-29T01:30Z", "none"],
    [NIGHTLY, "2026-10-25T00:30Z", "2026-10-25T00:30Z to 2026-10-26T01:30Z"],
    [NIGHTLY, "2026-10-25T01:30Z", "none"],
    [HALF_HOURS_OF_TWO, "2026-10-25T01:30Z", "2026-10-25T01:30Z to 2026-10-26T01:00Z"],
  ])("of %j at %s is about the interval that begins there, if one does", ([spec, logicalDate, expected]) => {
    expect(interval([compiled(spec)], { logicalDate })).toBe(expected);
  });

  test("finds it among several schedules, and that of the first when two begin there", () => {
    const schedules = [compiled(WORKDAYS), compiled({ cron: "0 9 * * *" }), compiled(NIGHTLY)];
    const at = (logicalDate: string): string => interval(schedules, { logicalDate });
    expect(at("2026-06-10T00:30Z")).toBe("2026-06-10T00:30Z to 2026-06-11T00:30Z");
    expect(at("2026-06-12T07:00Z")).toBe("2026-06-12T07:00Z to 2026-06-15T07:00Z");
    expect(at("2026-06-13T07:00Z")).toBe("2026-06-13T07:00Z to 2026-06-14T07:00Z");
  });

  test("knows the first and the last interval between the DAG's dates, and none outside", () => {
    const dates = { startDate: "2026-06-10T00:00:00.000Z", endDate: "2026-06-11T12:00:00.000Z" };
    const at = (logicalDate: string): string => interval([compiled(NIGHTLY, dates)], { logicalDate });
    expect(["08", "09", "10", "11"].map((day) => at(`2026-06-${day}T00:30Z`))).toEqual([
      "none",
      "2026-06-09T00:30Z to 2026-06-10T00:30Z",
      "2026-06-10T00:30Z to 2026-06-11T00:30Z",
      "none",
    ]);
  });
});

test("the beginning of every interval gives that interval back, as schedules fire it", () => {
  const schedules = [NIGHTLY, HOURLY, WORKDAYS, HALF_HOURS_OF_TWO, { every: "7h" }].map((spec) => compiled(spec));
  const year = { min: new Date("2026-01-01T00:00Z"), max: new Date("2027-01-01T00:00Z"), noInvalidDate: true };
  fc.assert(
    fc.property(fc.constantFrom(...schedules), fc.date(year), (schedule, now) => {
      const last = manualTimes([schedule], { logicalDate: undefined, now });
      expect(last.intervalEnd.getTime()).toBeLessThanOrEqual(now.getTime());
      expect(schedule.next(last.intervalEnd)!.due.getTime()).toBeGreaterThan(now.getTime());
      const again = manualTimes([schedule], { logicalDate: last.intervalStart, now });
      expect(again).toEqual({ ...last, logicalDate: last.intervalStart });
    }),
    { numRuns: 300 },
  );
});
