import { expect, test } from "vitest";
import type { ScheduleSpec } from "../model/schedule.ts";
import { clockChanges } from "./clock-changes.ts";
import { compileSchedule } from "./compile.ts";

const changes = (spec: ScheduleSpec, timezone = "Europe/Berlin") =>
  clockChanges(compileSchedule(spec, { dagId: "etl", timezone, calendars: {} }), new Date("2026-01-01"));

test("of a fixed-time job tell where it is moved to, and which of two equal times it takes", () => {
  expect(changes({ cron: "30 2 * * *" })).toEqual([
    {
      at: new Date("2026-03-29T01:00Z"),
      from: "2026-03-29 02:00",
      to: "2026-03-29 03:00",
      effects: [{ due: new Date("2026-03-29T01:00Z"), note: { kind: "gap", text: "DST gap: moved from 02:30" } }],
      isMore: false,
      unshown: [],
    },
    {
      at: new Date("2026-10-25T01:00Z"),
      from: "2026-10-25 03:00",
      to: "2026-10-25 02:00",
      effects: [
        {
          due: new Date("2026-10-25T00:30Z"),
          note: { kind: "overlap", text: "DST overlap: 02:30 comes twice, this is the first time and the only run" },
        },
      ],
      isMore: false,
      unshown: [],
    },
  ]);
});

test("of a wildcard job tell which times are not shown, and both passes as far as they are few", () => {
  const [gap, overlap] = changes({ cron: "*/20 2 * * *" });
  expect(gap).toMatchObject({ effects: [], unshown: ["02:00", "02:20", "02:40"] });
  expect(overlap).toMatchObject({ isMore: true, unshown: [] });
  expect(overlap!.effects.map(({ due }) => due.toISOString().slice(11, 16))).toEqual([
    "00:00",
    "00:20",
    "00:40",
    "01:00",
  ]);
});

test("of what is due at other times have no effect, and some zones have none", () => {
  for (const { effects, unshown } of changes({ cron: "0 9 * * *" })) expect([effects, unshown]).toEqual([[], []]);
  expect(changes({ cron: "0 9 * * *" }, "Asia/Kathmandu")).toEqual([]);
});
