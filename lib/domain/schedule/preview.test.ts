import { describe, expect, test } from "vitest";
import type { ScheduleSpec } from "../model/schedule.ts";
import { compileSchedule, type ScheduleSettings } from "./compile.ts";
import { preview } from "./preview.ts";

const SETTINGS: ScheduleSettings = {
  dagId: "etl",
  timezone: "Europe/Berlin",
  calendars: { holidays: { dates: ["12-25 Christmas Day", "12-26"] } },
};

/** Starts, each with its notes. */
function lines(specs: readonly ScheduleSpec[], after: string, count: number): string[] {
  const schedules = specs.map((spec) => compileSchedule(spec, SETTINGS));
  return preview(schedules, new Date(after), count).map(({ at, notes }) =>
    `${at.toISOString().slice(0, 16)} ${notes.map(({ text }) => text).join("; ")}`.trim(),
  );
}

const notes = (spec: ScheduleSpec, after: string, count = 1): string[] =>
  lines([spec], after, count).map((line) => line.slice(17));

describe("notes say", () => {
  test.for([
    ["30 2 * * *", "DST gap: moved from 02:30"],
    ["0,30 2 * * *", "DST gap: moved from 02:00, 02:30"],
    ["*/10,5,15 2 29 3 *", ""],
    ["0,10,20,30 2 * * *", "DST gap: moved from 02:00, 02:10, 02:20 and more"],
    ["0 2,3 * * *", "DST gap: also stands for 02:00"],
    ["0 3 * * *", ""],
    ["0 * * * *", ""],
  ] as const)("what %s means in a gap: %s", ([cron, text]) => {
    const found = notes({ cron }, "2026-03-29T00:59:59Z");
    expect(found[0]).toBe(text);
  });

  test("the date when a whole day was left out", () => {
    expect(notes({ cron: "0 9 * * *", timezone: "Pacific/Apia" }, "2011-12-30T00:00Z")).toEqual([
      "DST gap: moved from 2011-12-30 09:00",
    ]);
  });

  test("which of two equal times it is", () => {
    expect(notes({ cron: "30 2 * * *" }, "2026-10-24T12:00Z")).toEqual([
      "DST overlap: 02:30 comes twice, this is the first time and the only run",
    ]);
    expect(notes({ cron: "30 * * * *" }, "2026-10-25T00:00Z", 3)).toEqual([
      "DST overlap: 02:30 comes twice, this is the first time",
      "DST overlap: 02:30 comes twice, this is the second time",
      "",
    ]);
  });

  test("what a calendar left out and moved", () => {
    const except = ["holidays", "weekends"];
    expect(notes({ cron: "0 9 * * *", calendar: { except } }, "2026-12-24T12:00Z")).toEqual([
      "skipped 2026-12-25 09:00: Christmas Day; skipped 2026-12-26 09:00: holidays; skipped 2026-12-27 09:00: Sunday",
    ]);
    expect(notes({ cron: "0 9 25 * *", calendar: { except, shift: "next" } }, "2026-12-24T12:00Z")).toEqual([
      "shifted from 2026-12-25 (Christmas Day)",
    ]);
    expect(notes({ cron: "0 9 * * *", calendar: { except, shift: "next" } }, "2026-12-24T12:00Z")).toEqual([
      "also stands for 2026-12-25 (Christmas Day), 2026-12-26 (holidays), 2026-12-27 (Sunday)",
    ]);
    expect(notes({ every: "1d", calendar: { only: ["holidays"] } }, "2026-12-20T12:00Z")[0]).toMatch(
      /^skipped 363 from .*: not in holidays$/,
    );
  });

  test("what a blackout does", () => {
    const windows = [{ from: "22:00", to: "06:00" }];
    const spec = (action?: "skip" | "delay" | "once"): ScheduleSpec => ({
      cron: "0 23,1,7 * * *",
      blackout: { windows, action },
    });
    expect(notes(spec(), "2026-06-01T12:00Z")).toEqual([
      "skipped 2 from 2026-06-01 23:00 to 2026-06-02 01:00: blackout",
    ]);
    expect(notes(spec("delay"), "2026-06-01T12:00Z", 3)).toEqual([
      "in a blackout, delayed until 2026-06-02 06:00",
      "in a blackout, delayed until 2026-06-02 06:00",
      "",
    ]);
    expect(notes(spec("once"), "2026-06-01T12:00Z", 2)).toEqual([
      "skipped 2026-06-01 23:00: blackout, only the last one counts; the last one due in a blackout, delayed until 2026-06-02 06:00",
      "",
    ]);
  });

  test("how late jitter makes it, and how many were left out when they are many", () => {
    expect(notes({ cron: "0 9 * * *", jitter: "30m" }, "2026-06-01T12:00Z")[0]).toMatch(/^\d+m\d+s late by jitter$/);
    expect(notes({ cron: "* * * * *", calendar: { except: ["weekends"] } }, "2026-06-05T22:00Z")).toEqual([
      "skipped 1000 and more from 2026-06-06 00:00 to 2026-06-06 16:39: Saturday",
    ]);
  });
});

describe("a preview", () => {
  test("has the runs of several schedules in the order of their starts, until there are no more", () => {
    const blackout = { windows: [{ from: "00:00", to: "12:00" }], action: "delay" as const };
    expect(lines([{ cron: "0 9 * * *", blackout }, { cron: "0 10 1,2 * *" }], "2026-06-01T00:00Z", 4)).toEqual([
      "2026-06-01T08:00",
      "2026-06-01T10:00 in a blackout, delayed until 2026-06-01 12:00",
      "2026-06-02T08:00",
      "2026-06-02T10:00 in a blackout, delayed until 2026-06-02 12:00",
    ]);
    const once = compileSchedule({ cron: "0 9 * * *" }, { ...SETTINGS, endDate: "2026-06-02T00:00:00.000Z" });
    expect(preview([once], new Date("2026-06-01T00:00Z"), 9).map((one) => one.schedule)).toEqual([0]);
    expect(preview([], new Date(0), 9)).toEqual([]);
  });

  test("has what is due already and still waits", () => {
    const spec: ScheduleSpec = {
      cron: "0 23 * * *",
      blackout: { windows: [{ from: "22:00", to: "06:00" }], action: "delay" },
    };
    expect(lines([spec], "2026-06-02T02:00Z", 1)).toEqual([
      "2026-06-02T04:00 in a blackout, delayed until 2026-06-02 06:00",
    ]);
    expect(lines([spec], "2026-06-02T04:00Z", 1)).toEqual([
      "2026-06-03T04:00 in a blackout, delayed until 2026-06-03 06:00",
    ]);
  });
});
