import { describe, expect, test } from "vitest";
import type { Backfill } from "#lib/db/backfill-reads.ts";
import { about } from "./backfill-preview.ts";
import { progress, progressText } from "./backfill-progress.ts";

const backfill: Backfill = {
  id: "7",
  dagId: "etl",
  missing: false,
  state: "running",
  start: "2024-01-01T00:00:00.000Z",
  end: "2024-01-31T23:59:59.999Z",
  schedule: null,
  order: "asc",
  maxActive: 4,
  priority: "low",
  reprocess: "missing",
  conf: {},
  note: null,
  actor: "anna",
  pausedBy: null,
  createdAt: "2024-02-01T00:00:00.000Z",
  endedAt: null,
  slices: 32,
  counts: { queued: 14, running: 2, success: 12, failed: 4, cancelled: 0 },
  meanRunMs: 60_000,
};

describe("a progress", () => {
  test("says how far it is, and what keeps it or how long it takes", () => {
    const counts = "16/32 dates (50%): 14 queued, 2 running, 12 success, 4 failed";
    expect(progressText(backfill)).toBe(`${counts}, about 3m45s left`);
    expect(progressText({ ...backfill, meanRunMs: null })).toBe(counts);
    expect(progressText({ ...backfill, state: "paused", pausedBy: "bert" })).toBe(`${counts}, paused by bert`);
    expect(progressText({ ...backfill, state: "cancelling" })).toBe(`${counts}, being cancelled`);
    expect(progressText({ ...backfill, missing: true })).toContain("the DAG's file is gone");
  });

  test("on a terminal is a bar over itself that fits, and is gone at the end", () => {
    const written: string[] = [];
    const shown = progress({ isTTY: true, columns: 60, write: (text) => written.push(text) });
    shown.show(backfill);
    shown.end();
    expect(written).toEqual(["\r\u001B[K[############------------] 16/32 dates (50%): 14 queued, 2 ", "\r\u001B[K"]);
  });

  test("elsewhere is a line, and none when nothing has changed", () => {
    const written: string[] = [];
    const shown = progress({ isTTY: false, columns: 60, write: (text) => written.push(text) });
    shown.show(backfill);
    shown.show(backfill);
    shown.end();
    expect(written).toEqual([`${progressText(backfill)}\n`]);
  });
});

test.each([
  [300, "1s"],
  [61_400, "1m1s"],
  [5_430_000, "1h31m"],
])("%d ms are about %s", (ms, text) => expect(about(ms)).toBe(text));
