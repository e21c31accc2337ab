import { expect, test } from "vitest";
import type { ScheduleSpec } from "../model/schedule.ts";
import { compileSchedule } from "./compile.ts";
import { wordsOf } from "./words.ts";

const words = (spec: ScheduleSpec) =>
  wordsOf(spec, compileSchedule(spec, { dagId: "etl", timezone: "Europe/Berlin", calendars: {} }));

test.for([
  ["0 9 * * 1-5", "At 09:00, Monday through Friday, in Europe/Berlin"],
  ["@hourly", "Every hour, in Europe/Berlin"],
  ["*/15 * * * *", "Every 15 minutes, in Europe/Berlin"],
  ["0 0 LW * *", "At 00:00, on the last weekday of the month, in Europe/Berlin"],
  ["0 0 * * 1#2", "At 00:00, on the second Monday of the month, in Europe/Berlin"],
  ["30 0 9 * * *", "At 09:00:30, in Europe/Berlin"],
  ["0 0 */2 * 1", "At 00:00, every 2 days in a month, only on Monday, in Europe/Berlin"],
] as const)("%s: %s", ([cron, text]) => {
  expect(words({ cron }).when).toBe(text);
});

test.for([
  ["15m", "Every 15 minutes, in Europe/Berlin"],
  ["1d", "Every day, in Europe/Berlin"],
  ["1d12h", "Every 1 day 12 hours, in Europe/Berlin"],
  ["1500ms", "Every 1s500ms, in Europe/Berlin"],
] as const)("every %s: %s", ([every, text]) => {
  expect(words({ every }).when).toBe(text);
});

test("details tell what the phrase does not", () => {
  expect(words({ cron: "0 9 * * *" }).details).toEqual([expect.stringContaining("A fixed-time job: ")]);
  expect(words({ cron: "*/7 */5 * * *" }).details).toEqual([
    expect.stringContaining("A wildcard job: "),
    "The steps of */7 begin anew every hour, 4 minutes after the last one. For an even rhythm write every: 7m.",
    "The steps of */5 begin anew every day, 4 hours after the last one. For an even rhythm write every: 5h.",
  ]);
  expect(words({ cron: "0 0 13 * 5" }).details[1]).toContain("a day that is in one of them is enough");
  expect(words({ cron: "0 0 */2 * 5" }).details[1]).toContain("a day must be in both");
  expect(words({ cron: "*/40 0 0 * * *" }).details).toHaveLength(1);
});

test("calendars, blackouts and jitter are sentences of their own", () => {
  const spec: ScheduleSpec = {
    every: "1h",
    anchor: "2026-01-01T00:00:00.000Z",
    calendar: { only: ["trading"], except: ["weekends"] },
    blackout: {
      windows: [
        { from: "22:00", to: "06:00", days: ["fri", "sat"] },
        { start: "2026-01-01T00:00:00.000Z", end: "2026-01-02T00:00:00.000Z" },
      ],
      action: "once",
    },
    jitter: "5m",
  };
  expect(words(spec)).toEqual({
    when: "Every hour, counted from 2026-01-01T00:00:00Z, in Europe/Berlin",
    details: [
      "An interval follows real time: where clocks are changed, it is due at other times of day than before.",
      "Due only on days of trading, not due on days of weekends; what falls on others is left out.",
      "Runs due from 22:00 to 06:00 on fri, sat, or from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z are left out but for the last one, which waits until it is over.",
      "Each run starts up to 5m late, spread by DAG and time.",
    ],
  });
});
