import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { afterRunning } from "./after-running.ts";

test("a process that stood still hears first what came meanwhile", async () => {
  let isLate = false;
  const stop = afterRunning(200, () => (isLate = true));
  const until = performance.now() + 400;
  while (performance.now() < until);
  await delay(1);
  expect(isLate).toBe(false);
  stop();
});

test("it is late all the same, once, and not when it was stopped", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const stop = afterRunning(20, () => resolve("stopped"));
  stop();
  afterRunning(100, () => resolve("late"));
  expect(await promise).toBe("late");
});
