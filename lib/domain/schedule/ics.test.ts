import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Calendar } from "../model/calendar.ts";
import { readIcs } from "./ics.ts";

const file = (...events: readonly string[][]): string =>
  [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    ...events.flatMap((event) => ["BEGIN:VEVENT", ...event, "END:VEVENT"]),
    "END:VCALENDAR",
    "",
  ].join("\r\n");

const dates = (...event: readonly string[]): string[] => {
  const read = readIcs(file([...event]));
  return read.ok ? read.dates : read.problems.map(({ line, message }) => `${line}: ${message}`);
};

describe("an iCalendar file", () => {
  test("gives a calendar's dates, sorted, each day once", () => {
    const text = file(
      ["UID:1", "DTSTART;VALUE=DATE:20261226", "DTEND;VALUE=DATE:20261227", "SUMMARY:Boxing Day"],
      [
        "DTSTART;VALUE=DATE:20261225",
        "SUMMARY;LANGUAGE=en:Christmas\\, really",
        "BEGIN:VALARM",
        "DTSTART:20200101",
        "END:VALARM",
      ],
      ["DTSTART;VALUE=DATE:20261225", "SUMMARY:Again"],
      ["DTSTART;VALUE=DATE:20270101"],
    );
    const read = readIcs(text);
    expect(read).toEqual({ ok: true, dates: ["2026-12-25 Christmas, really", "2026-12-26 Boxing Day", "2027-01-01"] });
    expect(Calendar.safeParse({ dates: read.ok ? read.dates : [] }).success).toBe(true);
  });

  test("may have folded lines, quoted colons, other line ends and a byte order mark", () => {
    const text = `\uFEFF${file(["DTSTART;VALUE=DATE:20261", " 225", 'SUMMARY;X="a:b":Long', "\t name"])}`;
    expect(readIcs(text.replaceAll("\r\n", "\n"))).toEqual({ ok: true, dates: ["2026-12-25 Long name"] });
  });

  test.for([
    ["of several days", ["DTSTART:20261224", "DTEND:20261227"], ["2026-12-24", "2026-12-25", "2026-12-26"]],
    ["with a duration", ["DTSTART:20261224", "DURATION:P2D"], ["2026-12-24", "2026-12-25"]],
    ["that ends as it begins", ["DTSTART:20261224", "DTEND:20261224"], ["2026-12-24"]],
    ["from midnight", ["DTSTART;TZID=Europe/Berlin:20261224T000000", "SUMMARY:Eve"], ["2026-12-24 Eve"]],
    ["of every year", ["DTSTART:20261225", "RRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25", "SUMMARY:C"], ["12-25 C"]],
    ["of some years", ["DTSTART:20240229", "RRULE:FREQ=YEARLY;COUNT=2"], ["2024-02-29", "2028-02-29"]],
    [
      "until a year",
      ["DTSTART:20261231", "DTEND:20270102", "RRULE:FREQ=YEARLY;UNTIL=20280101T000000Z"],
      ["2026-12-31", "2027-01-01", "2027-12-31", "2028-01-01"],
    ],
    ["that was cancelled", ["DTSTART:20261224", "STATUS:CANCELLED"], []],
  ] as const)("may have an event %s", ([, event, expected]) => {
    expect(dates(...event)).toEqual(expected);
  });

  test.for([
    ["a time", ["SUMMARY:Lunch", "DTSTART:20261224T120000Z"], /^5: the event "Lunch" is not of whole days/],
    ["no beginning", ["SUMMARY:X"], /^3: the event "X" is not of whole days/],
    ["a day that does not exist", ["DTSTART:20260230"], /^4: an event is not of whole days/],
    [
      "another repetition",
      ["DTSTART:20261126", "RRULE:FREQ=YEARLY;BYDAY=4TH;BYMONTH=11"],
      /^5: .* repeats by FREQ=YEARLY;BYDAY=4TH;BYMONTH=11, and only whole years/,
    ],
    ["an endless rule of seconds", ["DTSTART:20261126", "RRULE:FREQ=SECONDLY"], /only whole years/],
    ["a rule of nothing", ["DTSTART:20261126", "RRULE:"], /only whole years/],
    ["exceptions", ["DTSTART:20261126", "EXDATE:20261126"], /^5: an event has EXDATE, which is not read/],
    ["an end before it begins", ["DTSTART:20261126", "DTEND:20261125"], /^5: an event does not end within 366 days/],
    ["years of days", ["DTSTART:20261126", "DURATION:P900D"], /within 366 days/],
  ] as const)("with an event of %s is refused with its line", ([, event, expected]) => {
    const [message, ...rest] = dates(...event);
    expect(message).toMatch(expected);
    expect(rest).toEqual([]);
  });

  test("is told from other files", () => {
    expect(readIcs("hello")).toMatchObject({
      ok: false,
      problems: [{ line: 1, message: expect.stringContaining("BEGIN:VCALENDAR") }],
    });
    expect(readIcs("BEGIN:VCALENDAR\nEND:VCALENDAR")).toMatchObject({
      ok: false,
      problems: [{ message: /no events/ }],
    });
    expect(readIcs("x".repeat(4_000_001)).ok).toBe(false);
  });

  test("of any content is read or refused, and what is read is a calendar", () => {
    const part = fc.constantFrom(
      "BEGIN:VEVENT",
      "END:VEVENT",
      "BEGIN:VALARM",
      "DTSTART:20261225",
      "DTSTART;VALUE=DATE:19991231",
      "DTEND:20261226",
      "RRULE:FREQ=YEARLY",
      "RRULE:FREQ=YEARLY;COUNT=999",
      "RRULE:=;;=",
      "SUMMARY:\\n\\,\0x",
      " folded",
      "END",
      ":",
      "STATUS:CANCELLED",
      "DURATION:P1W",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string({ maxLength: 12 })), { maxLength: 14 }), (parts) => {
        const read = readIcs(["BEGIN:VCALENDAR", "BEGIN:VEVENT", ...parts].join("\n"));
        if (!read.ok) expect(read.problems.length).toBeGreaterThan(0);
        else if (read.dates.length > 0)
          expect(Calendar.safeParse({ dates: read.dates.slice(0, 5_000) }).error).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});
