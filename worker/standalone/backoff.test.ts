import { expect, test } from "vitest";
import { nextBackoffMs } from "./backoff.ts";

test("waits double up to a limit, and start anew after a healthy time", () => {
  const waits: number[] = [];
  let wait: number | undefined;
  for (let crash = 0; crash < 8; crash += 1) waits.push((wait = nextBackoffMs(wait, 50)));
  expect(waits).toEqual([200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  expect(nextBackoffMs(10_000, 30_000)).toBe(200);
});
