import { expect, test } from "vitest";
import { boundedRound } from "./rounds.ts";
import { createRunningClock } from "./running-clock.ts";

test("a round that hangs fails, is the only one, and counts when it comes back", async () => {
  let begun = 0;
  let nowMs = 0;
  const hung = Promise.withResolvers<void>();
  const run = (): Promise<void> => (begun++, hung.promise);
  const round = boundedRound(run, { withinMs: 5_000, clock: () => (nowMs += 4_000) });
  await expect(round()).rejects.toThrow(/has not come back for \d+ s/);
  await expect(round()).rejects.toThrow(/has not come back for \d+ s/);
  expect(begun).toBe(1);
  hung.resolve();
  await round();
  await round();
  expect(begun).toBeGreaterThan(1);
});

test("the error of a round is that of the duty", async () => {
  await expect(boundedRound(() => Promise.reject(new Error("no such file")))()).rejects.toThrow("no such file");
});

test("a standstill counts as a second at most", () => {
  let nowMs = 0;
  const clock = createRunningClock(() => nowMs);
  nowMs += 200;
  expect(clock()).toBe(200);
  nowMs += 3_600_000;
  expect(clock()).toBe(1_200);
});
