import { beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, start, states, success, worker } from "#lib/testing/engine.ts";
import { finish } from "./finish.ts";
import { clearTask, markTask } from "./run-actions.ts";

const database = testDatabase();
const anna = { actor: "anna" };

beforeEach(() => forgetRuns(database.deps));

test("a clear takes back what a person marked, also where a rule decides the task at once", async () => {
  const { deps } = database;
  const task = (id: string, more: object = {}) => ({ id, type: "bash", config: { command: "true" }, ...more });
  const tasks = [
    task("a"),
    task("b", { dependsOn: ["a"], triggerRule: "one_failed" }),
    task("c", { dependsOn: ["b"] }),
    task("open"),
  ];
  await inTx(deps.pool, (tx) =>
    publishVersion(tx, DagSpec.parse({ id: "marks", tasks }), { file: "marks.yaml", source: "", author: "test" }),
  );
  const w = await worker(deps, "w");
  const runId = await start(deps, "marks");
  const a = (await claimAll(deps, w)).find(({ taskId }) => taskId === "a");
  await finish(deps, [success(a!)], "worker:w");
  expect(await states(deps, runId)).toEqual(["success", "skipped", "skipped", "running"]);
  await markTask(deps, taskInstanceId(runId, 2), "success", anna);
  await clearTask(deps, taskInstanceId(runId, 1), anna);
  expect(await states(deps, runId)).toEqual(["success", "skipped", "skipped", "running"]);
  await markTask(deps, taskInstanceId(runId, 1), "success", anna);
  expect((await states(deps, runId)).slice(0, 2)).toEqual(["success", "success"]);
  expect(["ready", "queued"]).toContain((await states(deps, runId))[2]);
});
