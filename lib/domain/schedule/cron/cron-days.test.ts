import { expect, test } from "vitest";
import { cronOf } from "#lib/testing/schedule-walk.ts";
import { daysOf } from "./cron-days.ts";

/** The days of a month on which an expression is due. */
function days(fields: string, year: number, month: number): number[] {
  const mask = daysOf(cronOf(`0 0 ${fields}`).days, year, month);
  return Array.from({ length: 31 }, (_, index) => index + 1).filter((day) => (mask & (1 << day)) !== 0);
}

// 2026-08-01 is a Saturday, 2026-08-31 a Monday; 2026-05-31 is a Sunday, 2026-02-28 a Saturday.
test.for([
  ["L * *", 2026, 2, [28]],
  ["L * *", 2028, 2, [29]],
  ["1,L-1 * *", 2026, 5, [1, 30]],
  ["L-30 * *", 2026, 6, []],
  ["LW * *", 2026, 5, [29]],
  ["LW * *", 2026, 2, [27]],
  ["LW * *", 2026, 8, [31]],
  ["1W * *", 2026, 8, [3]],
  ["2W * *", 2026, 8, [3]],
  ["15W * *", 2026, 8, [14]],
  ["16W * *", 2026, 8, [17]],
  ["31W * *", 2026, 5, [29]],
  ["31W * *", 2026, 6, []],
  ["* * 1#1", 2026, 8, [3]],
  ["* * 1#5", 2026, 8, [31]],
  ["* * 1#5", 2026, 9, []],
  ["* * 5L", 2026, 8, [28]],
  ["* * 0L,6#1", 2026, 8, [1, 30]],
  ["13 * 5", 2026, 3, [6, 13, 20, 27]],
  ["13 * 5", 2026, 8, [7, 13, 14, 21, 28]],
  ["*/10 * 6", 2026, 8, [1]],
  ["1-7 * */6", 2026, 8, [1, 2]],
  ["31 * *", 2026, 8, [31]],
  ["* 8 *", 2026, 9, []],
] as const)("%s in %d-%d: %j", ([fields, year, month, expected]) => {
  expect(days(fields, year, month)).toEqual(expected);
});
