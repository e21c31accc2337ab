import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cronWords } from "../words.ts";
import { type Cron, parseCron } from "./parse-cron.ts";

function cronOf(text: string): Cron {
  const read = parseCron(text);
  if (!read.ok) throw new Error(read.message);
  return read.cron;
}

const problemOf = (text: string): string => {
  const read = parseCron(text);
  return read.ok ? "" : read.message;
};

describe("a cron expression", () => {
  test.for([
    ["5 fields", "0 9 * * 1-5", { seconds: [0], minutes: [0], hours: [9] }],
    ["6 fields, seconds first", "*/20 30 9 * * *", { seconds: [0, 20, 40], minutes: [30], hours: [9] }],
    [
      "names in any case",
      "0 9 * JAN,Feb mon-FRI",
      { days: expect.objectContaining({ months: 0b110, weekdays: 0b111110 }) },
    ],
    ["Sunday as 0, 7 and SUN", "0 9 * * 7,0,sun", { days: expect.objectContaining({ weekdays: 1 }) }],
    ["a range to Sunday", "0 9 * * 6-7", { days: expect.objectContaining({ weekdays: 0b1000001 }) }],
    ["ranges with steps, also without an end", "10-50/20,5/25 * * * *", { minutes: [5, 10, 30, 50, 55] }],
    ["values twice", "1-5,3,3 * * * *", { minutes: [1, 2, 3, 4, 5] }],
    ["a macro", "@weekdays", { text: "0 0 * * 1-5" }],
    ["blanks of any kind", " 0\t9  * * * \n", { text: "0 9 * * *" }],
    ["? for a day", "0 9 ? * MON", { days: expect.objectContaining({ weekdays: 0b10 }) }],
  ] as const)("may have %s", ([, text, part]) => {
    expect(cronOf(text)).toMatchObject(part);
  });

  test.for([
    ["* * * * *", true],
    ["*/30 1 * * *", true],
    ["0 */2 * * *", true],
    ["0 * * * *", true],
    ["@hourly", true],
    ["0-59 2 * * *", true],
    ["0-59/15 2 * * *", true],
    ["0/15 2 * * *", true],
    ["0 0-23 * * *", true],
    ["0 0-11,12-23 * * *", true],
    ["1,*/30 2 * * *", true],
    ["*/10 30 2 * * *", false],
    ["30 2 * * *", false],
    ["0,15,30,45 2 * * *", false],
    ["0 2,14 * * *", false],
    ["5-59/15 2 * * *", false],
    ["0 9-17 * * *", false],
    ["0 1-23/2 * * *", false],
    ["@daily", false],
  ] as const)("%s is a wildcard job: %s", ([text, isWildcard]) => {
    expect(cronOf(text).isWildcard).toBe(isWildcard);
  });

  test.for([
    ["0 25 * * *", `the hour field has "25": hours go from 0 to 23`],
    ["60 * * * *", `the minute field has "60": minutes go from 0 to 59`],
    ["0 0 32 * *", `the day of month field has "32": days go from 1 to 31`],
    ["0 9 * foo *", `the month field has "foo": months are 1 to 12 or JAN to DEC; did you mean FEB?`],
    ["0 9 * * Monday", `the weekday field has "Monday": weekdays are 0 to 7 or SUN to SAT; did you mean MON?`],
    ["0 22-2 * * *", `the hour field has "22-2": the range runs backwards; write 22-23,0-2`],
    ["0 9 * * FRI-MON", `write FRI-SAT,SUN-MON`],
    ["0 9 * * SAT-SUN", `write SAT-7, where 7 is Sunday`],
    ["*/90 * * * *", `a step of 90 never comes round within 0 to 59; for every 90 minutes write \`every: 90m\``],
    ["*/0 * * * *", "a step is a whole number from 1"],
    ["1,,2 * * * *", "an item of the list is empty"],
    ["*,5 * * * *", "* is all of them already; write it alone"],
    ["-1 * * * *", "expected a value, a range like 1-29"],
    ["0 ? * * *", "? stands for any day; write * here"],
    ["H * * * *", "a time made from a hash, is not read"],
    ["0 0 1,15W * *", "W stands alone, as in 15W or LW"],
    ["0 0 32W * *", "days are 1 to 31"],
    ["0 0 * * 1#6", "1 to 5: 1#2 is the second Monday"],
    ["0 0 * * L", "weekdays are 0 to 7"],
    ["0 9 * *", "has 5 fields (minute hour day-of-month month weekday) or 6 with seconds first; this has 4"],
    ["0 0 9 * * ? 2026", "this has 7; a year is not one of them: use startDate and endDate"],
    ["", "this has 0"],
    ["@dayly", `did you mean @daily?`],
    ["@every 5m", "write `every: 15m`"],
    ["@reboot", "is not a time"],
    ["0 0 30 2 *", `it never fires: no year has a day of month "30" in month "2"`],
    ["0 0 31 4,6,9,11 *", "it never fires"],
    ["0 0 30W 2 *", "it never fires"],
    ["0 0 */30 2 1#5", `on weekday "1#5"`],
    [`0 9 * * ${"1,".repeat(300)}1`, "at most 512 characters"],
  ] as const)("%s is refused, with what would be right", ([text, message]) => {
    expect(problemOf(text)).toContain(message);
  });

  test("of any text is read or refused, quickly, and what is read can be said in words", () => {
    const noise = fc.string({ unit: fc.constantFrom(..."0123456789*/-,?LWH#@monJANsun ".split("")), maxLength: 9 });
    const fine = fc.constantFrom("*", "1", "*/2", "1-5", "1,2", "5/3");
    const some = fc.constantFrom("L", "15W", "1#2", "sun", "?", "99", "0");
    const word = fc.oneof(
      { arbitrary: fine, weight: 12 },
      { arbitrary: some, weight: 3 },
      { arbitrary: noise, weight: 1 },
    );
    const texts = fc.array(word, { minLength: 4, maxLength: 7, size: "max" }).map((words) => words.join(" "));
    const before = process.cpuUsage();
    let good = 0;
    fc.assert(
      fc.property(fc.oneof(texts, fc.string({ maxLength: 80 })), (text) => {
        const read = parseCron(text);
        if (!read.ok) return read.message.length > 10;
        good++;
        return cronWords(read.cron).length > 0;
      }),
      { numRuns: 3_000 },
    );
    expect(good).toBeGreaterThan(50);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(3_000);
  });
});
