import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createProtocolGuard } from "./protocol-guard.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const missing = Object.assign(new Error("function sluice.claim_1 does not exist"), { code: "42883" });
const onOver = vi.fn<() => void>();
const guard = () => {
  onOver.mockClear();
  return createProtocolGuard({ log: SILENT, onOver, deadlineMs: 1_000 });
};

test.for([
  ["too old", { min: 2, max: 3 }],
  ["too new", { min: 0, max: 0 }],
] as const)("a process that is %s for its database is over after the deadline", ([, range]) => {
  const protocol = guard();
  protocol.check({ min: 1, max: 1 });
  expect(protocol.trouble()).toBeUndefined();
  protocol.check(range);
  expect(protocol.trouble()).toContain("protocol");
  vi.advanceTimersByTime(999);
  protocol.check(range);
  expect([protocol.isOver(), onOver.mock.calls.length]).toEqual([false, 0]);
  vi.advanceTimersByTime(1);
  expect([protocol.isOver(), onOver.mock.calls.length]).toEqual([true, 1]);
});

test("trouble that ends before the deadline is forgotten, and all of it must end", () => {
  const protocol = guard();
  protocol.failed("claim", missing);
  protocol.check({ min: 2, max: 2 });
  protocol.worked("claim");
  expect(protocol.trouble()).toContain("too old");
  protocol.check({ min: 1, max: 2 });
  expect(protocol.trouble()).toBeUndefined();
  vi.advanceTimersByTime(10_000);
  expect(onOver).not.toHaveBeenCalled();
  // A later trouble has a deadline of its own.
  protocol.failed("claim", missing);
  vi.advanceTimersByTime(999);
  expect(onOver).not.toHaveBeenCalled();
});

test("an error that says nothing about functions is no trouble", () => {
  const protocol = guard();
  protocol.failed("claim", Object.assign(new Error("no connection"), { code: "ECONNREFUSED" }));
  expect(protocol.trouble()).toBeUndefined();
});

test("a loop gets what its work returns", async () => {
  expect(await guard().guarding("fire schedules", () => Promise.resolve(250))).toBe(250);
});

test("a loop's work is not begun while the database does not take the protocol, and is tried while only a function is missing", async () => {
  const protocol = guard();
  const work = vi.fn<() => Promise<void>>().mockRejectedValueOnce(missing).mockResolvedValue();
  await expect(protocol.guarding("settle", work)).rejects.toThrow("does not exist");
  expect(protocol.trouble()).toContain("settle");
  await protocol.guarding("settle", work);
  expect(protocol.trouble()).toBeUndefined();
  protocol.check({ min: 2, max: 2 });
  await expect(protocol.guarding("settle", work)).rejects.toThrow("too old");
  expect(work).toHaveBeenCalledTimes(2);
});
