import { expect, test } from "vitest";
import type { ScheduleSpec } from "#lib/domain/model/schedule.ts";
import { compileSchedule } from "#lib/domain/schedule/compile.ts";
import { preview } from "#lib/domain/schedule/preview.ts";
import { explainLines } from "./cron-explain.ts";
import { runLines } from "./cron-next.ts";
import { clockText, timeText } from "./cron-schedules.ts";

const asked = (timezone: string, ...specs: ScheduleSpec[]) => ({
  title: "etl",
  schedules: specs.map((spec) => ({
    text: "cron" in spec ? spec.cron : spec.every,
    spec,
    schedule: compileSchedule(spec, { dagId: "etl", timezone, calendars: {} }),
  })),
});

function lines(timezone: string, ...specs: ScheduleSpec[]): string[] {
  const about = asked(timezone, ...specs);
  const schedules = about.schedules.map(({ schedule }) => schedule);
  return runLines(about, preview(schedules, new Date("2026-03-28T12:00Z"), 2));
}

test("runs are lines with the zone's time, UTC and notes", () => {
  expect(lines("Europe/Berlin", { cron: "30 2 * * *" })).toEqual([
    "DUE IN EUROPE/BERLIN         UTC               NOTES",
    "Sun 2026-03-29 03:00 +02:00  2026-03-29 01:00  DST gap: moved from 02:30",
    "Mon 2026-03-30 02:30 +02:00  2026-03-30 00:30",
  ]);
});

test("columns are there when they say something", () => {
  const delay = { windows: [{ from: "00:00", to: "06:00" }], action: "delay" as const };
  expect(lines("UTC", { cron: "0 9 * * *" }, { cron: "0 5 * * *", blackout: delay })).toEqual([
    "DUE IN UTC                   STARTS (UTC)      SCHEDULE   NOTES",
    "Sun 2026-03-29 05:00 +00:00  2026-03-29 06:00  0 5 * * *  in a blackout, delayed until 2026-03-29 06:00",
    "Sun 2026-03-29 09:00 +00:00  2026-03-29 09:00  0 9 * * *",
  ]);
});

test.for([
  ["Asia/Kathmandu", "2026-03-28T12:00:00Z", "Sat 2026-03-28 17:45 +05:45"],
  ["America/St_Johns", "2026-03-28T12:00:30Z", "Sat 2026-03-28 09:30:30 -02:30"],
] as const)("clocks in %s", ([zone, at, text]) => {
  expect(clockText(asked(zone, { every: "1h" }).schedules[0]!.schedule, new Date(at))).toBe(text);
  expect(timeText(new Date("2026-03-28T12:00:30Z"))).toBe("2026-03-28 12:00:30");
});

test("an explanation is indented below what it explains", () => {
  const change = {
    at: new Date(0),
    from: "2026-03-29 02:00",
    to: "2026-03-29 03:00",
    isMore: false,
    unshown: [],
    effects: [],
  };
  const effects = [{ due: new Date("2026-03-29T01:00Z"), note: { kind: "gap" as const, text: "moved" } }];
  expect(
    explainLines({
      schedule: "30 2 * * *",
      when: "At 02:30",
      details: ["One."],
      clockChanges: [change, { ...change, effects, isMore: true }, { ...change, unshown: ["02:00", "02:30"] }],
    }),
  ).toEqual([
    "30 2 * * *",
    "  At 02:30",
    "  One.",
    "  Clocks go from 2026-03-29 02:00 to 2026-03-29 03:00 without effect",
    "  Clocks go from 2026-03-29 02:00 to 2026-03-29 03:00:",
    "    2026-03-29T01:00Z moved",
    "    and more",
    "  Clocks go from 2026-03-29 02:00 to 2026-03-29 03:00:",
    "    no clock shows 02:00, 02:30: nothing is due in the gap",
  ]);
});
