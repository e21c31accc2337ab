import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clockOf } from "#lib/testing/schedule-golden.ts";
import type { ScheduleSpec } from "../model/schedule.ts";
import {
  type CompiledSchedule,
  compileSchedule,
  compileSchedules,
  type Fire,
  type ScheduleSettings,
} from "./compile.ts";
import { notesOf } from "./notes.ts";

const SETTINGS: ScheduleSettings = {
  dagId: "etl",
  timezone: "Europe/Berlin",
  calendars: { holidays: { dates: ["2026-05-14 Ascension Day", "12-25 Christmas Day", "12-26", "01-01 New Year"] } },
};

const compiled = (spec: ScheduleSpec, settings: Partial<ScheduleSettings> = {}): CompiledSchedule =>
  compileSchedule(spec, { ...SETTINGS, ...settings });

const iso = (date: Date): string => date.toISOString().replace(":00.000Z", "Z");

/** The first fires after an instant. */
function first(schedule: CompiledSchedule, after: string, count: number): Fire[] {
  const found: Fire[] = [];
  for (const fire of schedule.between(new Date(after), new Date("9999-12-31"))) {
    if (found.push(fire) === count) break;
  }
  return found;
}

const dues = (spec: ScheduleSpec, after: string, count: number, settings?: Partial<ScheduleSettings>): string[] =>
  first(compiled(spec, settings), after, count).map(({ due }) => iso(due));

const starts = (spec: ScheduleSpec, after: string, count: number): string[] =>
  first(compiled(spec), after, count).map(({ at }) => iso(at));

describe("a schedule", () => {
  test("has a logical date and an interval as Airflow has them: since the fire before", () => {
    const [fire] = first(compiled({ cron: "0 9 * * 1-5" }), "2026-06-13T00:00Z", 1);
    expect(fire).toEqual({
      due: new Date("2026-06-15T07:00Z"),
      at: new Date("2026-06-15T07:00Z"),
      logicalDate: new Date("2026-06-12T07:00Z"),
      interval: { start: new Date("2026-06-12T07:00Z"), end: new Date("2026-06-15T07:00Z") },
    });
  });

  test("of an interval counts from its anchor, before it too, and ignores clock changes", () => {
    expect(dues({ every: "1d", anchor: "2026-03-28T02:30:00.000Z" }, "2026-03-27T12:00Z", 3)).toEqual([
      "2026-03-28T02:30Z",
      "2026-03-29T02:30Z",
      "2026-03-30T02:30Z",
    ]);
    expect(dues({ every: "15m" }, "2026-01-01T00:00Z", 2)).toEqual(["2026-01-01T00:15Z", "2026-01-01T00:30Z"]);
  });

  test("may have a time zone of its own", () => {
    expect(dues({ cron: "0 9 * * *", timezone: "Asia/Kathmandu" }, "2026-01-01T00:00Z", 1)).toEqual([
      "2026-01-01T03:15Z",
    ]);
  });

  test("is due from the start date to the end date, both included; the first interval is a whole one", () => {
    const dates = { startDate: "2026-01-05T08:00:00.000Z", endDate: "2026-01-06T08:00:00.000Z" };
    const schedule = compiled({ cron: "0 9 * * *" }, dates);
    const found = first(schedule, "2020-01-01", 9);
    expect(found.map(({ due }) => iso(due))).toEqual(["2026-01-05T08:00Z", "2026-01-06T08:00Z"]);
    expect(iso(found[0]!.logicalDate)).toBe("2026-01-04T08:00Z");
    expect(schedule.next(new Date("2026-01-06T08:00Z"))).toBeUndefined();
    expect(schedule.prev(new Date("2026-01-05T08:00Z"))).toBeUndefined();
    expect(iso(schedule.prev(new Date("2030-01-01"))!.due)).toBe("2026-01-06T08:00Z");
  });

  test("is one of several", () => {
    const dag = { ...SETTINGS, id: "etl", schedule: [{ cron: "0 9 * * *" }, { every: "1h" }] };
    expect(compileSchedules(dag).map((one) => iso(one.next(new Date("2026-01-01T00:00Z"))!.due))).toEqual([
      "2026-01-01T08:00Z",
      "2026-01-01T01:00Z",
    ]);
  });

  test("has nothing beyond what can be written down", () => {
    for (const spec of [{ cron: "* * * * *" }, { every: "1s" }, { cron: "0 9 * * *" }]) {
      expect(compiled(spec).next(new Date(8.64e15))).toBeUndefined();
      expect(compiled(spec).prev(new Date(-8.64e15))).toBeUndefined();
      expect(compiled(spec).next(new Date(-8.64e15))!.due.getUTCFullYear()).toBe(1900);
      expect(compiled(spec).prev(new Date(8.64e15))!.due.getUTCFullYear()).toBe(9999);
      expect(compiled(spec).next(new Date(Number.NaN))).toBeUndefined();
      expect(compiled(spec).prev(new Date(Number.NaN))).toBeUndefined();
    }
  });
});

describe("a calendar", () => {
  const except = ["holidays", "weekends"];

  test("leaves days out, whose time is in the next interval", () => {
    const found = first(compiled({ cron: "0 9 * * *", calendar: { except } }), "2026-12-23T12:00Z", 3);
    expect(found.map(({ due }) => iso(due))).toEqual(["2026-12-24T08:00Z", "2026-12-28T08:00Z", "2026-12-29T08:00Z"]);
    expect(found.map(({ logicalDate }) => iso(logicalDate))[1]).toBe("2026-12-24T08:00Z");
  });

  test("may be all there is", () => {
    expect(dues({ cron: "0 9 * * *", calendar: { only: ["holidays"] } }, "2026-05-01", 3)).toEqual([
      "2026-05-14T07:00Z",
      "2026-12-25T08:00Z",
      "2026-12-26T08:00Z",
    ]);
    expect(
      dues({ cron: "0 9 * * *", calendar: { only: ["holidays"], except: ["weekends"] } }, "2026-12-01", 2),
    ).toEqual(["2026-12-25T08:00Z", "2027-01-01T08:00Z"]);
  });

  test("moves to the next allowed day at the same time, once for several", () => {
    expect(dues({ cron: "0 9 25 * *", calendar: { except, shift: "next" } }, "2026-12-01", 2)).toEqual([
      "2026-12-28T08:00Z",
      "2027-01-25T08:00Z",
    ]);
    expect(dues({ cron: "0 9,18 * * *", calendar: { except, shift: "next" } }, "2026-12-24T12:00Z", 4)).toEqual([
      "2026-12-24T17:00Z",
      "2026-12-28T08:00Z",
      "2026-12-28T17:00Z",
      "2026-12-29T08:00Z",
    ]);
  });

  test("moves to the day before", () => {
    expect(dues({ cron: "0 9 L * *", calendar: { except: ["weekends"], shift: "previous" } }, "2026-01-01", 3)).toEqual(
      ["2026-01-30T08:00Z", "2026-02-27T08:00Z", "2026-03-31T07:00Z"],
    );
  });

  test("of an interval goes by the day that clocks show", () => {
    expect(
      dues({ every: "12h", anchor: "2026-06-12T22:30:00.000Z", calendar: { except: ["weekends"] } }, "2026-06-12", 3),
    ).toEqual(["2026-06-12T10:30Z", "2026-06-14T22:30Z", "2026-06-15T10:30Z"]);
  });

  test("may define weekends otherwise", () => {
    const calendars = { weekends: { weekdays: ["fri" as const] } };
    expect(
      dues({ cron: "0 9 * * *", calendar: { except: ["weekends"] } }, "2026-06-11T12:00Z", 1, { calendars }),
    ).toEqual(["2026-06-13T07:00Z"]);
  });

  test("that has no more days ends the schedule, in bounded time", () => {
    const calendars = { once: { dates: ["2026-06-01"] } };
    for (const spec of [{ cron: "* * * * *" }, { every: "1m" }]) {
      const schedule = compiled({ ...spec, calendar: { only: ["once"] } }, { calendars });
      const before = process.cpuUsage();
      expect(schedule.next(new Date("2026-07-01"))).toBeUndefined();
      expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
      expect(iso(schedule.prev(new Date("2026-07-01"))!.due)).toBe("2026-06-01T21:59Z");
    }
  });
});

describe("a blackout", () => {
  const night = { from: "22:00", to: "06:00" };

  test("skips what is due in it, and nothing at its end", () => {
    expect(dues({ cron: "0 */2 * * *", blackout: { windows: [night] } }, "2026-06-01T18:00Z", 2)).toEqual([
      "2026-06-02T04:00Z",
      "2026-06-02T06:00Z",
    ]);
  });

  test("delays each to its end, in order, with its own interval", () => {
    const spec: ScheduleSpec = { cron: "0 23,1 * * *", blackout: { windows: [night], action: "delay" } };
    const found = first(compiled(spec), "2026-06-01T12:00Z", 3);
    expect(found.map(({ at }) => iso(at))).toEqual(["2026-06-02T04:00Z", "2026-06-02T04:00Z", "2026-06-03T04:00Z"]);
    expect(found.map(({ due }) => iso(due))).toEqual(["2026-06-01T21:00Z", "2026-06-01T23:00Z", "2026-06-02T21:00Z"]);
  });

  test("starts the last one at its end, which stands for all", () => {
    const spec: ScheduleSpec = { cron: "*/20 * * * *", blackout: { windows: [night], action: "once" } };
    const [, , fire] = first(compiled(spec), "2026-06-01T19:00Z", 3);
    expect([fire!.logicalDate, fire!.due, fire!.at].map(iso)).toEqual([
      "2026-06-01T19:40Z",
      "2026-06-02T03:40Z",
      "2026-06-02T04:00Z",
    ]);
  });

  test("has windows on some days, windows of one time, and windows that touch", () => {
    const windows = [
      { from: "22:00", to: "24:00", days: ["fri" as const] },
      { from: "00:00", to: "06:00", days: ["sat" as const] },
      { start: "2026-06-06T03:30:00.000Z", end: "2026-06-06T08:10:00.000Z" },
    ];
    expect(starts({ cron: "30 23 * * *", blackout: { windows, action: "delay" } }, "2026-06-04T12:00Z", 3)).toEqual([
      "2026-06-04T21:30Z",
      "2026-06-06T08:10Z",
      "2026-06-06T21:30Z",
    ]);
  });

  test("is over when clocks jump out of it, and back when they jump into it", () => {
    const windows = [{ from: "02:15", to: "02:45" }];
    expect(starts({ cron: "20 2 * * *", blackout: { windows, action: "delay" } }, "2026-03-28T12:00Z", 1)).toEqual([
      "2026-03-29T01:00Z",
    ]);
    const everyTen: ScheduleSpec = { cron: "*/10 * * * *", blackout: { windows: [{ from: "02:30", to: "04:00" }] } };
    const left = dues(everyTen, "2026-10-24T23:59Z", 40).filter((due) => due < "2026-10-25T03:10Z");
    expect(left.map((due) => due.slice(11, 16))).toEqual([
      "00:00",
      "00:10",
      "00:20",
      "01:00",
      "01:10",
      "01:20",
      "03:00",
    ]);
    expect(iso(compiled(everyTen).prev(new Date("2026-10-25T03:00Z"))!.due)).toBe("2026-10-25T01:20Z");
    expect(iso(compiled(everyTen).prev(new Date("2026-10-25T01:00Z"))!.due)).toBe("2026-10-25T00:20Z");
  });
});

describe("jitter", () => {
  const spec: ScheduleSpec = { cron: "*/10 * * * *", jitter: "30m" };

  test("is the same for everybody, differs by DAG, and stays before the next one", () => {
    const [a, again, other] = [compiled(spec), compiled(spec), compiled(spec, { dagId: "other" })].map((schedule) =>
      first(schedule, "2026-06-01T00:00Z", 200).map(({ due, at }) => at.getTime() - due.getTime()),
    );
    expect(again).toEqual(a);
    expect(other).not.toEqual(a);
    for (const late of a!) expect(late >= 0 && late < 600_000 && late % 1_000 === 0).toBe(true);
    // Spread over all of the room, and not gathered somewhere.
    const quarters = [0, 1, 2, 3].map((quarter) => a!.filter((late) => Math.floor(late / 150_000) === quarter).length);
    for (const count of quarters) expect(count).toBeGreaterThan(25);
  });

  test("never leads into a blackout, and spreads what waits for its end", () => {
    const windows = [{ from: "22:00", to: "06:00" }];
    const near: ScheduleSpec = { cron: "55 21 * * *", jitter: "1h", blackout: { windows } };
    for (const { due, at } of first(compiled(near), "2026-01-01", 300))
      expect(at.getTime() - due.getTime()).toBeLessThan(300_000);
    const waiting: ScheduleSpec = { cron: "0 23,1 * * *", jitter: "1h", blackout: { windows, action: "delay" } };
    const [one, two] = first(compiled(waiting), "2026-06-01T12:00Z", 2);
    expect(one!.at).toEqual(two!.at);
    expect(one!.at > new Date("2026-06-02T04:00Z") && one!.at < new Date("2026-06-02T05:00Z")).toBe(true);
  });
});

const specs: fc.Arbitrary<ScheduleSpec> = fc
  .record({
    rhythm: fc.oneof(
      fc
        .constantFrom("* * * * *", "*/7 * * * *", "0 */2 * * *", "*/30 1 * * *", "30 2 * * *", "0,30 0-3 * * *")
        .map(cronOf),
      fc.constantFrom("0 0 * * *", "0 9 * * 1-5", "0 0 1 * *", "15 2 L * *", "0 9 15W * *", "5 5 * * 1#1").map(cronOf),
      fc.constantFrom("15m", "1d", "7h", "90s").map((every) => ({ every, anchor: "2026-03-05T07:08:00.000Z" })),
    ),
    zone: fc.constantFrom("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia"),
    calendar: fc.constantFrom(
      undefined,
      undefined,
      { except: ["weekends"] },
      { except: ["weekends", "holidays"], shift: "next" as const },
      { except: ["holidays"], shift: "previous" as const },
    ),
    windows: fc.constantFrom(
      undefined,
      [{ from: "22:00", to: "01:30" }],
      [{ from: "01:30", to: "02:30", days: ["sat" as const, "sun" as const] }],
      [{ start: "2020-01-01T00:00:00.000Z", end: "2020-02-01T00:00:00.000Z" }],
    ),
    action: fc.constantFrom("skip" as const, "delay" as const, "once" as const),
    jitter: fc.constantFrom(undefined, "5m", "10h"),
  })
  .map(({ rhythm, zone, calendar, windows, action, jitter }) => {
    const { shift, ...days } = calendar ?? { shift: undefined };
    return {
      ...rhythm,
      timezone: zone,
      ...(calendar === undefined
        ? {}
        : { calendar: "every" in rhythm || shift === undefined ? days : { ...days, shift } }),
      ...(windows === undefined ? {} : { blackout: { windows, action } }),
      ...(jitter === undefined ? {} : { jitter }),
    } as ScheduleSpec;
  });

function cronOf(cron: string): { cron: string } {
  return { cron };
}

/** Half of them near clock changes, where the rules meet. */
const instants = fc
  .oneof(
    fc.integer({ min: Date.UTC(2010, 0, 1), max: Date.UTC(2035, 0, 1) }),
    fc
      .tuple(
        fc.constantFrom(
          "2011-12-30T10:00Z",
          "2026-03-29T01:00Z",
          "2026-10-25T01:00Z",
          "2026-11-01T05:00Z",
          "2026-04-04T15:00Z",
        ),
        fc.integer({ min: -2e8, max: 2e8 }),
      )
      .map(([at, off]) => Date.parse(at) + off),
  )
  .map((ms) => new Date(ms));

describe("any schedule", () => {
  test("goes forwards and backwards over the same instants, which only rise", () => {
    fc.assert(
      fc.property(specs, instants, (spec, from) => {
        const schedule = compiled(spec);
        let before = schedule.prev(from);
        let fire = schedule.next(from);
        if (before !== undefined) expect(schedule.next(before.due)!.due >= from).toBe(true);
        for (let step = 0; step < 12 && fire !== undefined; step++) {
          const known = schedule.prev(fire.due);
          expect(fire.due > from && fire.at >= fire.due).toBe(true);
          expect(fire.interval.end).toEqual(fire.due);
          expect(fire.logicalDate).toEqual(known?.due ?? fire.due);
          if (step > 0 && before !== undefined) {
            expect(fire.due > before.due && fire.at >= before.at).toBe(true);
            expect(known).toEqual(before);
          }
          before = fire;
          fire = schedule.next(fire.due);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("between two instants is what is between them and one in the middle", () => {
    fc.assert(
      fc.property(specs, instants, fc.nat(6e7), fc.nat(6e7), (spec, from, toMiddle, toEnd) => {
        const schedule = compiled(spec);
        const middle = new Date(from.getTime() + toMiddle);
        const end = new Date(middle.getTime() + toEnd);
        const all = [...schedule.between(from, end)];
        expect([...schedule.between(from, middle), ...schedule.between(middle, end)]).toEqual(all);
        for (const { due } of all) expect(due > from && due <= end).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("starts nothing in a blackout, nor on a day that is left out", () => {
    const clocks = new Map<string, (minute: number) => number>();
    /** What clocks of the zone show, written as if they were in UTC. */
    const shownAt = (zone: string, at: Date): string => {
      const clock = clocks.get(zone) ?? clockOf(zone);
      clocks.set(zone, clock);
      return new Date(clock(Math.floor(at.getTime() / 60_000)) * 60_000).toISOString();
    };
    const isInside = (spec: ScheduleSpec, time: string): boolean => {
      const window = spec.blackout?.windows[0];
      const isDaily = window !== undefined && "from" in window && window.days === undefined;
      return isDaily && (time >= window.from || time < window.to);
    };
    fc.assert(
      fc.property(specs, instants, (spec, from) => {
        const schedule = compiled(spec);
        const isWorkday = spec.calendar?.except?.includes("weekends") === true;
        for (const fire of first(schedule, from.toISOString(), 5)) {
          expect(isInside(spec, shownAt(spec.timezone!, fire.at).slice(11, 16))).toBe(false);
          const isMoved = notesOf(schedule, fire).some(({ kind }) => kind === "gap");
          const weekday = new Date(shownAt(spec.timezone!, fire.due)).getUTCDay();
          expect(isWorkday && !isMoved && weekday % 6 === 0).toBe(false);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("rises in every zone, also where its clocks were set by other rules and will be", () => {
    const zones = Intl.supportedValuesOf("timeZone");
    const years = fc.oneof(fc.integer({ min: 1901, max: 1999 }), fc.integer({ min: 2027, max: 9990 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        years,
        fc.constantFrom("30 2 * * *", "*/30 1 * * *"),
        (timezone, year, cron) => {
          let last = new Date(Date.UTC(year, 0, 1));
          for (const { due } of first(compiled({ cron }, { timezone }), last.toISOString(), 400)) {
            expect(due > last && due.getTime() - last.getTime() < 3 * 86_400_000).toBe(true);
            last = due;
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of an interval is a whole number of times away from its anchor", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000_000 }), instants, instants, (seconds, anchor, from) => {
        const schedule = compiled({ every: `${seconds}s`, anchor: anchor.toISOString() });
        const next = schedule.next(from)!.due.getTime();
        expect(Math.abs(next - anchor.getTime()) % (seconds * 1_000)).toBe(0);
        expect(next > from.getTime() && next - from.getTime() <= seconds * 1_000).toBe(true);
      }),
    );
  });
});

test("a year of minutes is cheap, and so is a search that finds nothing", () => {
  const before = process.cpuUsage();
  const from = new Date("2025-01-01T00:00Z");
  let count = 0;
  for (const { due } of compiled({ cron: "* * * * *" }).between(from, new Date("2026-01-01T00:00Z")))
    count += due > from ? 1 : 0;
  expect(count).toBe(525_600);
  const never: ScheduleSpec = { cron: "* 23 * * *", blackout: { windows: [{ from: "22:00", to: "06:00" }] } };
  expect(compiled(never).next(from)).toBeUndefined();
  expect(compiled({ ...never, blackout: { ...never.blackout!, action: "once" } }).next(from)).toBeDefined();
  const always: ScheduleSpec = {
    cron: "* * * * *",
    blackout: { windows: [{ from: "00:00", to: "24:00" }], action: "delay" },
  };
  expect(compiled(always).next(from)).toBeUndefined();
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
});
