import { expect, test } from "vitest";
import { createDuties } from "./duties.ts";

test("a duty that is not done in time is not ok until it is done again", () => {
  let nowMs = 1_000;
  const duties = createDuties(() => nowMs);
  duties.register("heartbeat", 100);
  expect(duties.report()).toEqual([{ name: "heartbeat", ok: true, ageMs: 0, maxAgeMs: 100, error: null }]);
  nowMs += 50;
  duties.failed("heartbeat", "no route");
  nowMs += 51;
  expect(duties.report()).toEqual([{ name: "heartbeat", ok: false, ageMs: 101, maxAgeMs: 100, error: "no route" }]);
  duties.done("heartbeat");
  expect(duties.report()[0]).toMatchObject({ ok: true, error: null });
});

test("a needed duty is not ok as soon as it fails, and says why until it is done", () => {
  let nowMs = 0;
  const duties = createDuties(() => nowMs);
  duties.register("claim", 100);
  duties.register("disk", 100, { isNeeded: true });
  duties.failed("claim", "no route");
  expect(duties.trouble()).toBeUndefined();
  duties.failed("disk", "it is full");
  expect(duties.trouble()).toBe("disk: it is full");
  expect(duties.report()).toMatchObject([{ ok: true }, { ok: false, ageMs: 0 }]);
  duties.done("disk");
  expect(duties.trouble()).toBeUndefined();
  nowMs = 101;
  expect(duties.trouble()).toBe("disk: it has not been done in time");
});
