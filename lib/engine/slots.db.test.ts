import { expect, test } from "vitest";
import { readTasks } from "#lib/db/run-states.ts";
import { inTx } from "#lib/db/tx.ts";
import { MAX_TASKS_PER_DAG, MAX_TASKS_PER_RUN, taskInstanceId } from "#lib/domain/ids.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { publish, start } from "#lib/testing/engine.ts";

const database = testDatabase();

test("a run's tasks are read by ordinal up to the last slot of a DAG, and no instance beyond it is taken for one", async () => {
  const { deps, pool } = database;
  expect(MAX_TASKS_PER_RUN).toBe(2 * MAX_TASKS_PER_DAG);
  await publish(deps, "two", { a: [], b: ["a"] });
  const runId = await start(deps, "two");
  await pool.query(
    `insert into sluice.task_instance (id, run_id, state, workload_id, lane_id, open_parents, ready_at)
     select $2, run_id, 'ready', workload_id, lane_id, 0, sluice.clock() from sluice.task_instance where run_id = $1 limit 1`,
    [runId, taskInstanceId(runId, MAX_TASKS_PER_DAG)],
  );
  expect(await inTx(pool, (tx) => readTasks(tx, runId))).toHaveLength(2);
});
