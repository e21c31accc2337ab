import { expect, test } from "vitest";
import { createClocks, setAlive, setConfirmed } from "./clocks.ts";
import { createWatch } from "./watch.ts";

function lookThrice(options: { confirmedMsAgo: number; alive: boolean; holds: boolean }): (string | undefined)[] {
  const clocks = createClocks(Math.max(options.confirmedMsAgo, options.alive ? 0 : 30_000));
  setConfirmed(clocks, process.hrtime.bigint() - BigInt(options.confirmedMsAgo * 1e6));
  if (options.alive) setAlive(clocks);
  const watch = createWatch(clocks);
  return [watch(options.holds), watch(options.holds), watch(options.holds)];
}

test("a worker that can fence itself is left to it", () => {
  for (const confirmedMsAgo of [0, 26_000, 600_000])
    expect(lookThrice({ confirmedMsAgo, alive: true, holds: true })).toEqual([undefined, undefined, undefined]);
});

test("a busy worker whose leases are renewed goes on", () => {
  expect(lookThrice({ confirmedMsAgo: 0, alive: false, holds: true })).toEqual([undefined, undefined, undefined]);
});

test("a busy worker that holds attempts whose leases run out is ended, at the third look", () => {
  const why = expect.stringContaining("does not stop its tasks");
  expect(lookThrice({ confirmedMsAgo: 26_000, alive: false, holds: true })).toEqual([undefined, undefined, why]);
  expect(lookThrice({ confirmedMsAgo: 26_000, alive: false, holds: false }).at(-1)).toBeUndefined();
});

test("a loop that has hung up ends the worker, also with a database that answers", () => {
  const clocks = createClocks(61_000);
  setConfirmed(clocks, process.hrtime.bigint());
  const watch = createWatch(clocks);
  expect([watch(false), watch(false), watch(false)]).toEqual([
    undefined,
    undefined,
    expect.stringMatching(/stuck for 6\d s/),
  ]);
});

test("who turns again between two looks is not ended", () => {
  const clocks = createClocks(61_000);
  const watch = createWatch(clocks);
  expect([watch(false), watch(false)]).toEqual([undefined, undefined]);
  setAlive(clocks);
  expect(watch(false)).toBeUndefined();
});
