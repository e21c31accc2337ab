import { beforeEach, expect, test } from "vitest";
import { createEngineDeps, type EngineDeps } from "#lib/engine/deps.ts";
import type { CallResult } from "#lib/executors/executor.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, runState, start } from "#lib/testing/engine.ts";
import { workerLoops } from "#lib/testing/worker-loops.ts";

/** Workers whom no NOTIFY wakes. */

const database = testDatabase();
const { work, untilBySelf, ended, publish } = workerLoops(database);
const done = { ok: true, value: null } as const;
/** With it, a worker claims when a bell rings and at no other time. */
const NEVER_ANYWAY = { claimAnywayMs: 3_600_000 };

beforeEach(() => forgetRuns(database.deps));

/** A worker's `deps` that hear no bell: each is silenced by another worker, which is killed then. */
function deaf(): EngineDeps {
  const { deps } = database;
  return createEngineDeps({
    ...deps,
    queue: { ...deps.queue, bells: { ...deps.queue.bells, fetch: () => Promise.resolve([]) } },
  });
}

/** The `deps` of a process that is killed after its commits and before it tells of them. */
function silent(): EngineDeps {
  const notifier = { announce: () => undefined, flush: () => Promise.resolve() };
  return createEngineDeps({ ...database.deps, notifier });
}

/** Resolves when the worker has claimed for the first time, in vain, and is idle. */
async function isIdle(loop: { heartbeat(): Promise<void> }): Promise<void> {
  await loop.heartbeat();
}

test("a bell alone brings a worker to claim", async () => {
  await publish("rung", 3);
  await isIdle(await work("w", () => Promise.resolve(done), NEVER_ANYWAY));
  const runId = await start(database.deps, "rung");
  await untilBySelf(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
});

test("what was admitted by a process that was killed before it rang is claimed anyway", async () => {
  await publish("unrung", 1);
  await isIdle(await work("w", () => Promise.resolve(done), { claimAnywayMs: 100 }));
  const runId = await start(silent(), "unrung");
  await untilBySelf(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
});

test("what a worker that was killed after its fetch has left is claimed anyway", async () => {
  await publish("silenced", 1);
  await isIdle(await work("w", () => Promise.resolve(done), { claimAnywayMs: 100, deps: deaf() }));
  const runId = await start(database.deps, "silenced");
  await untilBySelf(ended(runId));
  expect(await runState(database.deps, runId)).toBe("success");
});

test("a worker that has silenced a bell and has no more room rings it for the others", async () => {
  await publish("shared", 2, { dependsOn: [] });
  const both = Promise.withResolvers<CallResult>();
  let going = 0;
  const together = (): Promise<CallResult> => {
    if (++going === 2) both.resolve(done);
    return both.promise;
  };
  for (const name of ["one", "two"]) await isIdle(await work(name, together, { functionSlots: 1, ...NEVER_ANYWAY }));
  const runId = await start(database.deps, "shared");
  await untilBySelf(ended(runId));
  const { rows } = await database.pool.query("select worker_id from sluice.attempt order by 1");
  expect(rows).toEqual([{ worker_id: "one" }, { worker_id: "two" }]);
});

test("a worker without a free slot fetches no bell", async () => {
  const { deps } = database;
  await publish("busy", 1);
  await publish("other", 1);
  const long = Promise.withResolvers<CallResult>();
  const asked: string[][] = [];
  const fetch = (names: readonly string[]): Promise<string[]> => {
    asked.push([...names]);
    return deps.queue.bells.fetch(names);
  };
  const listening = createEngineDeps({ ...deps, queue: { ...deps.queue, bells: { ...deps.queue.bells, fetch } } });
  const started = Promise.withResolvers<void>();
  const call = (): Promise<CallResult> => {
    started.resolve();
    return long.promise;
  };
  await isIdle(await work("full", call, { functionSlots: 1, ...NEVER_ANYWAY, deps: listening }));
  const busy = await start(deps, "busy");
  await started.promise;
  const before = asked.length;
  const runId = await start(deps, "other");
  await isIdle(await work("free", () => Promise.resolve(done), NEVER_ANYWAY));
  await untilBySelf(ended(runId));
  expect(asked.length).toBe(before);
  // Those of lanes for which it has slots at all.
  expect(new Set(asked.flat())).toEqual(new Set(["default.function", "@full"]));
  long.resolve(done);
  await untilBySelf(ended(busy));
});
