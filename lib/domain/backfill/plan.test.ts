import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSchedule } from "../schedule/compile.ts";
import { isFinalRunState, RUN_STATES } from "../states.ts";
import { estimateOf, remainingMs } from "./estimate.ts";
import { countPlan, type LatestRun, ORDERS, planOf, REPROCESSES, sliceKey, toMake } from "./plan.ts";
import { MAX_SLICES, slicesOf, type StandingSchedule } from "./slices.ts";

const NOW = new Date("2024-06-01T12:00:00Z");

function standing(
  cron: string,
  fields: { timezone?: string; position?: Date; jitter?: string } = {},
): StandingSchedule {
  const { timezone = "UTC", position = null, jitter } = fields;
  const compiled = compileSchedule({ cron, jitter }, { dagId: "d", timezone, calendars: {} });
  return { id: cron, compiled, position };
}

const range = (start: string, end: string): { start: Date; end: Date } => ({
  start: new Date(start),
  end: new Date(end),
});
const someTime = fc.integer({ min: 0, max: 400 * 24 }).map((hours) => new Date(Date.UTC(2024, 0, 1, hours)));

describe("the slices of a range", () => {
  test("are the fires with a logical date in it, both ends included", () => {
    const { slices, count } = slicesOf([standing("0 0 * * *")], range("2024-01-01", "2024-01-03"), NOW);
    expect(slices.map(({ logicalDate, interval }) => [logicalDate, interval.end])).toEqual([
      [new Date("2024-01-01"), new Date("2024-01-02")],
      [new Date("2024-01-02"), new Date("2024-01-03")],
      [new Date("2024-01-03"), new Date("2024-01-04")],
    ]);
    expect(count).toBe(3);
  });

  test("are due by now, and not their schedule's to start", () => {
    const after = range("2024-05-28", "2024-06-02");
    expect(slicesOf([standing("0 0 * * *")], after, NOW)).toMatchObject({ count: 4, notDue: 2, leftToSchedule: 0 });
    const position = new Date("2024-05-30");
    expect(slicesOf([standing("0 0 * * *", { position })], after, NOW)).toMatchObject({
      count: 2,
      notDue: 2,
      leftToSchedule: 2,
    });
  });

  test("are counted and not made when there are too many", () => {
    const found = slicesOf([standing("* * * * *")], range("2024-01-01", "2024-01-31"), NOW);
    expect(found).toMatchObject({ count: 30 * 1_440 + 1, slices: [] });
    expect(found.count).toBeGreaterThan(MAX_SLICES);
  });

  test("tell what a holiday left out", () => {
    const calendars = { bank: { dates: ["2024-01-02 Second"] } };
    const compiled = compileSchedule(
      { cron: "0 0 * * *", calendar: { except: ["bank"] } },
      { dagId: "d", timezone: "UTC", calendars },
    );
    const { slices } = slicesOf([{ id: "1", compiled, position: null }], range("2024-01-01", "2024-01-03"), NOW);
    expect(slices.map(({ logicalDate, notes }) => [logicalDate.getUTCDate(), ...notes])).toEqual([
      [1, "skipped 2024-01-02 00:00: Second"],
      [3],
    ]);
  });

  test("of two ranges side by side are those of both together, and jitter changes none", () => {
    const crons = fc.constantFrom("0 0 * * *", "30 2 * * *", "0 */6 * * *", "0 9 * * 1-5", "0 0 1 * *");
    const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York");
    fc.assert(
      fc.property(crons, zones, fc.tuple(someTime, someTime, someTime), (cron, timezone, times) => {
        const [from, between, to] = times.toSorted((a, b) => a.getTime() - b.getTime()) as [Date, Date, Date];
        const now = new Date("2026-01-01");
        const keys = (start: Date, end: Date, jitter?: string): string[] =>
          slicesOf(
            [standing(cron, { timezone, ...(jitter === undefined ? {} : { jitter }) })],
            { start, end },
            now,
          ).slices.map(sliceKey);
        const whole = keys(from, to);
        expect([...keys(from, between), ...keys(new Date(between.getTime() + 1), to)]).toEqual(whole);
        expect(keys(from, to, "10m")).toEqual(whole);
        expect(new Set(whole).size).toBe(whole.length);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a plan", () => {
  const aPlan = fc.record({
    reprocess: fc.constantFrom(...REPROCESSES),
    order: fc.constantFrom(...ORDERS),
    states: fc.array(fc.option(fc.constantFrom(...RUN_STATES), { nil: undefined }), { minLength: 1, maxLength: 40 }),
  });

  const made = ({
    states,
    ...wish
  }: { states: readonly (LatestRun["state"] | undefined)[] } & Parameters<typeof planOf>[2]) => {
    const slices = states.map((_, day) => {
      const logicalDate = new Date(Date.UTC(2024, 0, 1 + day));
      return { scheduleId: "1", logicalDate, interval: { start: logicalDate, end: logicalDate }, notes: [] };
    });
    const latest = states.flatMap((state, day) =>
      state === undefined ? [] : [{ scheduleId: "1", due: slices[day]!.interval.end, runId: String(day), state }],
    );
    return { slices, plan: planOf(slices, latest, wish) };
  };

  test("has every slice once, in the order wished", () => {
    fc.assert(
      fc.property(aPlan, (wish) => {
        const { slices, plan } = made(wish);
        const days = plan.map(({ logicalDate }) => logicalDate);
        expect(wish.order === "asc" ? days : days.toReversed()).toEqual(slices.map(({ logicalDate }) => logicalDate));
        const { create, rerun, keep, open } = countPlan(plan);
        expect(create + rerun + keep + open).toBe(slices.length);
      }),
    );
  });

  test("never doubles what is open, makes all that is missing, and more under a wider policy", () => {
    fc.assert(
      fc.property(aPlan, (wish) => {
        const keys = REPROCESSES.map((reprocess) => new Set(toMake(made({ ...wish, reprocess }).plan).map(sliceKey)));
        expect([...keys[0]!].every((key) => keys[1]!.has(key))).toBe(true);
        expect([...keys[1]!].every((key) => keys[2]!.has(key))).toBe(true);
        for (const { action, latest } of made(wish).plan) {
          expect(action === "create").toBe(latest === undefined);
          expect(action === "open").toBe(latest !== undefined && !isFinalRunState(latest.state));
          if (action === "rerun" && wish.reprocess === "failed") expect(latest?.state).not.toBe("success");
        }
      }),
    );
  });
});

describe("how long it takes", () => {
  test("is judged by runs before, and not at all without them", () => {
    expect(estimateOf(31, 4, { runs: 10, medianMs: 1_000, p90Ms: 3_000 })).toEqual({
      usualMs: 8_000,
      slowMs: 24_000,
      fromRuns: 10,
    });
    expect(estimateOf(31, 4, { runs: 0, medianMs: 0, p90Ms: 0 })).toBeUndefined();
  });

  test("is judged by the pace so far", () => {
    expect(remainingMs({ meanRunMs: 1_000, queued: 8, running: 4, maxActive: 4 })).toBe(2_500);
    expect(remainingMs({ meanRunMs: null, queued: 8, running: 4, maxActive: 4 })).toBeUndefined();
    expect(remainingMs({ meanRunMs: null, queued: 0, running: 0, maxActive: 4 })).toBe(0);
  });
});
