import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSchedule, type CompiledSchedule, type Fire } from "./compile.ts";
import {
  type CatchupLimit,
  decide,
  type Decision,
  type Dropped,
  MAX_AT_ONCE,
  MAX_COUNTED,
  NO_ROOM_MS,
  NONE_MS,
  ON_TIME_MS,
  type ScheduleState,
} from "./decide.ts";

const PLENTY = 1_000_000;
const at = (text: string): Date => new Date(`2026-03-10T${text}Z`);

const minutely = compileSchedule({ cron: "* * * * *" }, { dagId: "d", timezone: "UTC", calendars: {} });
const secondly = compileSchedule({ every: "1s" }, { dagId: "d", timezone: "UTC", calendars: {} });

function stateAt(position: Date, skip?: [Date, Date]): ScheduleState {
  return { position, lastDue: undefined, skip: skip && { from: skip[0], to: skip[1] } };
}

const dues = ({ fires }: Decision): string[] => fires.map(({ due }) => due.toISOString().slice(11, 19));

describe("a schedule that is looked at in time", () => {
  test("starts the run that is due, about the time since the one before", () => {
    const decision = decide(minutely, stateAt(at("10:00:00")), { catchup: "none", now: at("10:01:00"), room: PLENTY });
    expect(decision.fires).toEqual([
      {
        due: at("10:01:00"),
        at: at("10:01:00"),
        logicalDate: at("10:00:00"),
        interval: { start: at("10:00:00"), end: at("10:01:00") },
      },
    ]);
    expect(decision.dropped).toEqual([]);
    expect(decision.state).toEqual({ position: at("10:01:00"), lastDue: at("10:01:00"), skip: undefined });
    expect(decision.next).toEqual({ due: at("10:02:00"), at: at("10:02:00") });
  });

  test("starts nothing a moment early, nor when the clock was set back", () => {
    for (const now of [at("10:00:59.999"), at("09:00:00")]) {
      const decision = decide(minutely, stateAt(at("10:00:00")), { catchup: { all: 10 }, now, room: PLENTY });
      expect(decision).toEqual({
        fires: [],
        dropped: [],
        state: stateAt(at("10:00:00")),
        next: { due: at("10:01:00"), at: at("10:01:00") },
        isAll: true,
      });
    }
  });

  test("of every second, starts all that a fail-over has held up, whatever the policy", () => {
    for (const catchup of ["none", "latest", { all: 1 }] as const) {
      const decision = decide(secondly, stateAt(at("10:00:00")), { catchup, now: at("10:00:03"), room: PLENTY });
      expect(dues(decision), JSON.stringify(catchup)).toEqual(["10:00:01", "10:00:02", "10:00:03"]);
    }
  });
});

describe("after an hour in which nothing could start runs of every minute", () => {
  const after = (catchup: CatchupLimit, now: string): Decision =>
    decide(minutely, stateAt(at("10:00:00")), { catchup, now: at(now), room: PLENTY });

  test("none starts the last one only when it is no later than a minute", () => {
    const decision = after("none", "11:00:30");
    expect(dues(decision)).toEqual(["11:00:00"]);
    expect(decision.dropped).toEqual([
      { reason: "MISSED", runs: 59, firstDue: at("10:01:00"), lastDue: at("10:59:00") },
    ]);
    const daily = compileSchedule({ cron: "30 10 * * *" }, { dagId: "d", timezone: "UTC", calendars: {} });
    const late = (now: string): string[] =>
      dues(decide(daily, stateAt(at("10:00:00")), { catchup: "none", now: at(now), room: PLENTY }));
    expect(late("10:31:00")).toEqual(["10:30:00"]);
    expect(late("10:31:00.001")).toEqual([]);
  });

  test("latest starts the last one", () => {
    const decision = after("latest", "11:00:59");
    expect(dues(decision)).toEqual(["11:00:00"]);
    expect(decision.dropped.map(({ runs }) => runs)).toEqual([59]);
    expect(decision.state.position).toEqual(at("11:00:00"));
  });

  test("all starts all of them, a hundred at a time", () => {
    expect(dues(after({ all: 1_000 }, "11:00:59"))).toHaveLength(60);
    const [first, second] = passes(minutely, stateAt(at("08:00:00")), { all: 1_000 }, at("11:00:00"));
    expect(first!.fires).toHaveLength(MAX_AT_ONCE);
    expect(first!.next!.at).toEqual(at("11:00:00"));
    expect(second!.fires).toHaveLength(180 - MAX_AT_ONCE);
  });

  test("all with a limit starts the latest ones, and says how many it left out", () => {
    const decision = after({ all: 5 }, "11:00:59");
    expect(dues(decision)).toEqual(["10:56:00", "10:57:00", "10:58:00", "10:59:00", "11:00:00"]);
    expect(decision.dropped).toEqual([
      { reason: "TOO_MANY", runs: 55, firstDue: at("10:01:00"), lastDue: at("10:55:00") },
    ]);
  });
});

describe("a pause", () => {
  const skip: [Date, Date] = [at("10:10:30"), at("10:50:30")];

  test("is left out under every policy, and what was owed before it is not", () => {
    const decision = decide(minutely, stateAt(at("10:00:00"), skip), {
      catchup: { all: 1_000 },
      now: at("10:52:00"),
      room: PLENTY,
    });
    expect(decision.fires).toHaveLength(12);
    expect(decision.dropped).toEqual([
      { reason: "PAUSED", runs: 40, firstDue: at("10:11:00"), lastDue: at("10:50:00") },
    ]);
    expect(decision.state.skip).toBeUndefined();
    const latest = decide(minutely, stateAt(at("10:00:00"), skip), {
      catchup: "latest",
      now: at("10:50:40"),
      room: PLENTY,
    });
    expect(dues(latest)).toEqual(["10:10:00"]);
    expect(latest.dropped.map(({ reason, runs }) => [reason, runs])).toEqual([
      ["MISSED", 9],
      ["PAUSED", 40],
    ]);
  });
});

describe("without room", () => {
  test("nothing is started or given up, and it is looked at again", () => {
    const state = stateAt(at("10:00:00"));
    const decision = decide(minutely, state, { catchup: { all: 9 }, now: at("10:03:00"), room: 0 });
    expect(decision).toEqual({
      fires: [],
      dropped: [],
      state,
      next: { due: at("10:01:00"), at: new Date(at("10:03:00").getTime() + NO_ROOM_MS) },
      isAll: false,
    });
  });
});

test("years of seconds are decided in a moment", () => {
  const before = process.cpuUsage();
  const decision = decide(secondly, stateAt(new Date("2016-01-01T00:00:00Z")), {
    catchup: { all: 10 },
    now: at("10:00:00"),
    room: PLENTY,
  });
  expect(decision.dropped).toEqual([
    {
      reason: "TOO_MANY",
      runs: MAX_COUNTED,
      firstDue: new Date("2016-01-01T00:00:01Z"),
      lastDue: at("09:59:49"),
    },
  ]);
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(2_000);
});

test("under another definition, all that was due by then is owed, also what was to start later, and nothing else", () => {
  const delayed = compileSchedule(
    {
      cron: "*/10 * * * *",
      blackout: {
        windows: [{ start: at("09:55:00").toISOString(), end: at("12:00:00").toISOString() }],
        action: "delay",
      },
    },
    { dagId: "d", timezone: "UTC", calendars: {} },
  );
  const decision = decide(delayed, stateAt(at("09:55:00")), {
    catchup: "latest",
    now: at("10:25:00"),
    room: PLENTY,
    until: at("10:25:00"),
  });
  expect(dues(decision)).toEqual(["10:00:00", "10:10:00", "10:20:00"]);
  expect(decision.isAll).toBe(true);
});

test("of a million runs that are on time at once, a thousand are started", () => {
  const decision = decide(secondly, stateAt(at("10:00:00")), {
    catchup: "none",
    now: at("10:00:00"),
    room: PLENTY,
    until: new Date(at("10:00:00").getTime() + 86_400_000),
  });
  expect(decision.fires).toHaveLength(MAX_AT_ONCE);
  expect(decision.dropped).toMatchObject([{ reason: "MISSED", runs: MAX_COUNTED }]);
});

test("an interval begins where the last one ended, also after a schedule was changed", () => {
  const hourly = compileSchedule({ cron: "0 * * * *" }, { dagId: "d", timezone: "UTC", calendars: {} });
  for (const lastDue of [at("10:30:00"), at("08:00:00")]) {
    const state = { position: at("10:30:00"), lastDue, skip: undefined };
    const [fire] = decide(hourly, state, { catchup: "latest", now: at("11:00:00"), room: PLENTY }).fires;
    expect(fire!.interval).toEqual({ start: lastDue, end: at("11:00:00") });
    expect(fire!.logicalDate).toEqual(lastDue);
  }
});

/** Looks until nothing is left to do at `now`. */
function passes(schedule: CompiledSchedule, from: ScheduleState, catchup: CatchupLimit, now: Date): Decision[] {
  const all: Decision[] = [];
  for (let state = from; ;) {
    const decision = decide(schedule, state, { catchup, now, room: PLENTY });
    all.push(decision);
    state = decision.state;
    if (decision.next === undefined || decision.next.at > now) return all;
  }
}

const anySchedule = fc
  .record({
    when: fc.constantFrom({ every: "7s" }, { every: "1m" }, { cron: "*/2 * * * *" }, { cron: "0,1,30 * * * *" }),
    jitter: fc.constantFrom(undefined, "20s"),
    action: fc.constantFrom(undefined, "skip" as const, "delay" as const, "once" as const),
  })
  .map(({ when, jitter, action }) =>
    compileSchedule(
      {
        ...when,
        jitter,
        blackout: action && {
          action,
          windows: [{ start: at("10:20:00").toISOString(), end: at("10:33:00").toISOString() }],
        },
      },
      { dagId: "d", timezone: "UTC", calendars: {} },
    ),
  );

const anyCatchup: fc.Arbitrary<CatchupLimit> = fc.oneof(
  fc.constantFrom("none" as const, "latest" as const),
  fc.integer({ min: 1, max: 40 }).map((all) => ({ all })),
);

/** What the rule says, in the plainest way: over the list of all runs. */
function plainly(schedule: CompiledSchedule, state: ScheduleState, catchup: CatchupLimit, now: Date): Set<number> {
  const ready = [...schedule.between(state.position, now)].filter(({ at: start }) => start <= now);
  const due = ready.filter(({ due: d }) => state.skip === undefined || d <= state.skip.from || d > state.skip.to);
  const lateness = (index: number): number => now.getTime() - due[index]!.at.getTime();
  const chosen = due.filter((_, index) => {
    if (lateness(index) <= ON_TIME_MS) return true;
    if (typeof catchup === "object") return index >= due.length - catchup.all;
    return index === due.length - 1 && (catchup === "latest" || lateness(index) <= NONE_MS);
  });
  return new Set(chosen.map(({ due: d }) => d.getTime()));
}

describe("for any schedule, policy and history of looks", () => {
  const second = fc
    .integer({ min: 0, max: 4_000 })
    .map((seconds) => new Date(at("10:00:00").getTime() + seconds * 1_000));

  test("it starts what the plain rule says, and accounts for all else", () => {
    fc.assert(
      fc.property(
        anySchedule,
        anyCatchup,
        second,
        second,
        fc.option(fc.tuple(second, second)),
        (schedule, catchup, a, b, pause) => {
          const [position, now] = a < b ? [a, b] : [b, a];
          const skip = pause === null || pause[0] > pause[1] ? undefined : pause;
          const state = stateAt(position, skip);
          const all = passes(schedule, state, catchup, now);
          const fires = all.flatMap((decision) => decision.fires);
          expect(new Set(fires.map(({ due }) => due.getTime()))).toEqual(plainly(schedule, state, catchup, now));
          accountsForAll(
            [...schedule.between(position, now)].filter(({ at: start }) => start <= now),
            fires,
            all.flatMap(({ dropped }) => dropped),
          );
        },
      ),
    );
  });

  test("nothing starts twice or early, intervals lie in order, and each run is started, dropped or still owed", () => {
    const look = fc.record({
      now: second,
      room: fc.integer({ min: 0, max: 60 }),
      pause: fc.option(second, { freq: 8 }),
    });
    fc.assert(
      fc.property(anySchedule, anyCatchup, fc.array(look, { maxLength: 30 }), (schedule, catchup, looks) => {
        const start = at("09:59:30");
        let state = stateAt(start);
        const fires: Fire[] = [];
        const dropped: Dropped[] = [];
        for (const { now, room, pause } of looks) {
          if (pause !== null && pause <= now) state = { ...state, skip: { from: pause, to: now } };
          const decision = decide(schedule, state, { catchup, now, room });
          expect(decision.fires.length).toBeLessThanOrEqual(room);
          for (const fire of decision.fires) expect(fire.at.getTime()).toBeLessThanOrEqual(now.getTime());
          expect(decision.state.position.getTime()).toBeGreaterThanOrEqual(state.position.getTime());
          fires.push(...decision.fires);
          dropped.push(...decision.dropped);
          state = decision.state;
        }
        accountsForAll([...schedule.between(start, state.position)], fires, dropped);
        for (const [index, fire] of fires.entries()) {
          const before = fires[index - 1];
          if (before !== undefined) expect(fire.logicalDate.getTime()).toBeGreaterThanOrEqual(before.due.getTime());
        }
      }),
    );
  });
});

/** Each of the runs was started, or is in one dropped stretch, and nothing else is. */
function accountsForAll(runs: readonly Fire[], started: readonly Fire[], dropped: readonly Dropped[]): void {
  const starts = new Set(started.map(({ due }) => due.getTime()));
  expect(starts.size).toBe(started.length);
  for (const { due } of runs) {
    const stretches = dropped.filter(({ firstDue, lastDue }) => firstDue <= due && due <= lastDue).length;
    const times = stretches + (starts.has(due.getTime()) ? 1 : 0);
    if (times !== 1) throw new Error(`${due.toISOString()} counts ${times} times`);
  }
  expect(started.length + dropped.reduce((sum, one) => sum + one.runs, 0)).toBe(runs.length);
}
