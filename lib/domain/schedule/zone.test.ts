import { expect, test } from "vitest";
import { placeOf, zoneOf } from "./zone.ts";
import { zoneProblem } from "./zone-name.ts";

test("changes of a zone are found to the second, with what they change", () => {
  const year = [Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1)] as const;
  expect(zoneOf("Europe/Berlin").changesIn(...year)).toEqual([
    { at: Date.parse("2026-03-29T01:00Z"), before: 3_600_000, after: 7_200_000 },
    { at: Date.parse("2026-10-25T01:00Z"), before: 7_200_000, after: 3_600_000 },
  ]);
  expect(zoneOf("Asia/Kathmandu").changesIn(...year)).toEqual([]);
  // Liberia went from -0:44:30 to UTC, an offset with seconds.
  expect(zoneOf("Africa/Monrovia").changesIn(0, Date.UTC(1973, 0, 1))).toEqual([
    { at: Date.parse("1972-01-07T00:44:30Z"), before: -2_670_000, after: 0 },
  ]);
});

test("a local time lies once, twice, or in a gap", () => {
  const zone = zoneOf("Europe/Berlin");
  const place = (local: string) => {
    const { first, last, gap } = placeOf(zone, Date.parse(`${local}Z`));
    return [new Date(first).toISOString().slice(0, 16), last - first, gap !== undefined];
  };
  expect(place("2026-06-01T12:00")).toEqual(["2026-06-01T10:00", 0, false]);
  expect(place("2026-03-29T02:30")).toEqual(["2026-03-29T01:00", 0, true]);
  expect(place("2026-03-29T03:00")).toEqual(["2026-03-29T01:00", 0, false]);
  expect(place("2026-10-25T02:00")).toEqual(["2026-10-25T00:00", 3_600_000, false]);
  expect(place("2026-10-25T03:00")).toEqual(["2026-10-25T02:00", 0, false]);
});

test("every zone that Intl has may be named, and agrees with Intl on what its clocks show", () => {
  for (const name of Intl.supportedValuesOf("timeZone")) {
    expect(zoneProblem(name)).toBeUndefined();
    const at = Date.UTC(2026, name.length % 12, 15, 12);
    const shown = new Date(at).toLocaleString("sv-SE", { timeZone: name });
    expect([name, new Date(at + zoneOf(name).offsetAt(at)).toISOString().slice(0, 19).replace("T", " ")]).toEqual([
      name,
      shown,
    ]);
  }
});

test.for([
  ["Europe/Berln", `did you mean "Europe/Berlin"?`],
  ["Eurpe/Berlin", `did you mean "Europe/Berlin"?`],
  ["berlin", `did you mean "Europe/Berlin"?`],
  ["new york", `did you mean "America/New_York"?`],
  ["Kathmandu", `did you mean "Asia/Kathmandu"?`],
  ["Mars/Base", "name one like Europe/Berlin, or UTC"],
  ["+02:00", "is an offset, which knows no daylight saving"],
  ["UTC+2", "is an offset"],
  ["PST", "is an abbreviation and no IANA time zone"],
  ["", "name one like Europe/Berlin"],
  ["x".repeat(10_000), "is no IANA time zone"],
] as const)("%s is no zone: %s", ([name, message]) => {
  expect(zoneProblem(name)).toContain(message);
});

test.for(["UTC", "GMT", "Asia/Kathmandu", "Europe/Kyiv", "US/Eastern", "EST5EDT", "CET"] as const)(
  "%s is a zone",
  (name) => {
    expect(zoneProblem(name)).toBeUndefined();
  },
);
