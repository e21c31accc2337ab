import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, publish, runState, start } from "#lib/testing/engine.ts";
import { workerLoops } from "#lib/testing/worker-loops.ts";

const database = testDatabase();
const { work, until, ended } = workerLoops(database);

beforeEach(() => forgetRuns(database.deps));

test("what was claimed when the disk is found full goes back without costing a try, or begins elsewhere", async () => {
  const { deps, pool } = database;
  await publish(deps, "full", { a: [], b: [] });
  let isFull = true;
  let asked = 0;
  const never = (): Promise<never> => Promise.reject(new Error("no function"));
  await work("w", never, {
    processSlots: 2,
    tools: {
      diskTrouble: async () => (asked++, isFull ? "it is full" : undefined),
      spawner: {
        run: async () => ({ code: 0, signal: null }),
        stop: async () => undefined,
      },
    },
  });
  const runId = await start(deps, "full");
  await until(() => Promise.resolve(asked >= 4));
  isFull = false;
  await until(ended(runId));
  expect(await runState(deps, runId)).toBe("success");
  const { rows } = await pool.query("select failures, lost_attempts as lost from sluice.task_instance");
  expect(rows).toEqual([
    { failures: 0, lost: 0 },
    { failures: 0, lost: 0 },
  ]);
  const { rows: events } = await pool.query(
    "select distinct reason from sluice.event where to_state = 'ready' and from_state = 'running'",
  );
  expect(events).toEqual([{ reason: "NOT_BEGUN" }]);
});

test("one that could not get its folder goes back as well, and fails when the worker's disk is not full", async () => {
  const { deps, pool } = database;
  await publish(deps, "nospace", { a: [] });
  // Before a start it is fine; looked at anew, once, it is not.
  const looks = [true, false];
  await work("w", () => Promise.reject(new Error("no function")), {
    processSlots: 1,
    tools: {
      diskTrouble: async (isFresh) => (isFresh && looks.shift() ? "it is full" : undefined),
      spawner: {
        run: async () => ({ code: null, signal: null, error: "mkdir /work/a: ENOSPC" }),
        stop: async () => undefined,
      },
    },
  });
  const runId = await start(deps, "nospace");
  await until(ended(runId));
  const { rows } = await pool.query("select number, state, reason from sluice.attempt order by number");
  expect(rows).toEqual([
    { number: 1, state: "lost", reason: "NOT_BEGUN" },
    { number: 2, state: "failed", reason: "DISK_FULL" },
  ]);
});
