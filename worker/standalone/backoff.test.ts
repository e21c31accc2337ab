import { expect, test } from "vitest";
import { type Ends, oneMoreEnd, restartLine } from "./backoff.ts";

test("the first end in a while is not waited for; in a row the waits double to 10 s", () => {
  const waits: number[] = [];
  let ends: Ends | undefined;
  for (let crash = 0; crash < 9; crash += 1) waits.push((ends = oneMoreEnd(ends, 10)).waitMs);
  expect(waits).toEqual([0, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
  expect(oneMoreEnd(ends, 29_999).count).toBe(10);
  expect(oneMoreEnd(ends, 30_000)).toEqual({ count: 1, waitMs: 0 });
});

test("what is said tells how it ended, how often, and when it starts again", () => {
  expect(restartLine("worker", "SIGKILL", { count: 1, waitMs: 0 })).toBe("worker ended (SIGKILL); starting it again");
  expect(restartLine("web", "exit code 1", { count: 3, waitMs: 400 })).toBe(
    "web ended (exit code 1), 3 times in a row before it had run for 30 s; starting it again in 0.4 s",
  );
});
