import { expect, test } from "vitest";
import { compileSchedule } from "./compile.ts";
import type { CatchupLimit } from "./decide.ts";
import { dueInPause, MAX_DUE } from "./due-in-pause.ts";

const at = (time: string): Date => new Date(`2026-03-10T${time}Z`);
const minutely = compileSchedule({ cron: "* * * * *" }, { dagId: "d", timezone: "UTC", calendars: {} });

function since(position: string, catchup: CatchupLimit, now: string = "10:30:30"): [runs: number, madeUp: number] {
  const state = { position: at(position), lastDue: undefined, skip: undefined };
  const { runs, madeUp } = dueInPause(minutely, state, { catchup, now: at(now), since: at("10:00:30") });
  return [runs, madeUp];
}

test("counts what was due in the pause, and what the policy makes up for", () => {
  expect(since("10:00:00", { all: 1_000 })).toEqual([30, 30]);
  expect(since("10:00:00", { all: 7 })).toEqual([30, 7]);
  expect(since("10:00:00", "latest")).toEqual([30, 1]);
  expect(since("10:00:00", "none", "11:00:59")).toEqual([60, 1]);
  expect(
    dueInPause(
      minutely,
      { position: at("10:00:00"), lastDue: undefined, skip: undefined },
      {
        catchup: "none",
        now: at("10:00:59"),
        since: at("10:00:30"),
      },
    ),
  ).toEqual({ runs: 0, madeUp: 0 });
});

test("does not count what was owed before the pause, nor what is done with", () => {
  expect(since("09:00:00", "latest")).toEqual([30, 1]);
  expect(since("10:29:00", { all: 1_000 })).toEqual([1, 1]);
  expect(since("10:30:00", "latest")).toEqual([0, 0]);
});

test("of very many it counts the least", () => {
  const secondly = compileSchedule({ every: "1s" }, { dagId: "d", timezone: "UTC", calendars: {} });
  const state = { position: at("00:00:00"), lastDue: undefined, skip: undefined };
  const asked = { catchup: { all: 100_000 }, now: at("23:00:00"), since: at("00:00:00") };
  expect(dueInPause(secondly, state, asked)).toEqual({ runs: MAX_DUE, madeUp: MAX_DUE });
});
