import { beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { taskInstanceId } from "#lib/domain/ids.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, registration, start, worker } from "#lib/testing/engine.ts";
import { claiming, held } from "#lib/testing/races.ts";
import { claim } from "./claim.ts";
import { registerWorker } from "./register-worker.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

/** A DAG of `count` tasks that wait for nothing, `<id>0` and so on. */
async function publishTasks(id: string, count: number, options: object): Promise<void> {
  const tasks = Array.from({ length: count }, (_, n) => ({
    id: `${id}${n}`,
    type: "bash",
    config: { command: "true" },
    ...options,
  }));
  const spec = DagSpec.parse({ id, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

const tokens = (count: number): string[] => Array.from({ length: count }, database.deps.newToken);

test("takes what is assigned to the worker first, then its queues in the order given, each in the order of admission", async () => {
  const { deps } = database;
  await publishTasks("a", 2, { queue: "qa" });
  await publishTasks("b", 2, { queue: "qb" });
  await publishTasks("c", 1, { queue: "qa", resources: { cpu: 1 } });
  const ref = await registerWorker(deps, { ...registration("w"), queues: ["qa", "qb"] });
  for (const dag of ["a", "b", "c"]) await start(deps, dag);
  const { claimed, leftIn } = await claim(deps, ref, { queues: ["qb", "qa"], slotClass: "process" }, tokens(4));
  expect(claimed.map(({ taskId }) => taskId).toSorted()).toEqual(["a0", "b0", "b1", "c0"]);
  expect(leftIn).toEqual(["qa"]);
  const rest = await claim(deps, ref, { queues: ["qb", "qa"], slotClass: "process" }, tokens(4));
  expect([rest.claimed.map(({ taskId }) => taskId), rest.leftIn]).toEqual([["a1"], []]);
});

test("takes nothing of another slot class, and nothing without a token", async () => {
  const { deps } = database;
  await publish(deps, "one", { a: [] });
  const ref = await worker(deps, "w");
  await start(deps, "one");
  const queues = ["default"];
  expect((await claim(deps, ref, { queues, slotClass: "inline" }, tokens(1))).claimed).toEqual([]);
  expect((await claim(deps, ref, { queues, slotClass: "process" }, [])).claimed).toEqual([]);
  expect(await claimAll(deps, ref)).toHaveLength(1);
});

test("takes nothing of a run of which a person wants something", async () => {
  const { deps, pool } = database;
  await publish(deps, "two", { a: [] });
  const ref = await worker(deps, "w");
  const stopped = await start(deps, "two");
  const runId = await start(deps, "two");
  await pool.query(
    "insert into sluice.run_action (run_id, kind, args, actor, total) values ($1, 'cancel', '{}', 'anna', 1)",
    [stopped],
  );
  const { claimed, leftIn } = await claim(deps, ref, { queues: ["default"], slotClass: "process" }, tokens(5));
  expect([claimed.map((attempt) => attempt.runId), leftIn]).toEqual([[runId], []]);
});

test("waits for no lock: what another transaction holds is left, and said to be", async () => {
  const { deps } = database;
  await publish(deps, "locked", { a: [], b: [] });
  const ref = await worker(deps, "w");
  const runId = await start(deps, "locked");
  const holding = await held(deps, (tx) =>
    tx.query("select from sluice.task_instance where id = $1 for update", [taskInstanceId(runId, 0)]),
  );
  const { claimed, leftIn } = await claim(deps, ref, { queues: ["default"], slotClass: "process" }, tokens(5));
  expect([claimed.map(({ taskId }) => taskId), leftIn]).toEqual([["b"], ["default"]]);
  await holding.commit();
  expect((await claimAll(deps, ref)).map(({ taskId }) => taskId)).toEqual(["a"]);
});

test("of ten workers that claim at once, each attempt is one's", async () => {
  const { deps, pool } = database;
  await publish(deps, "many", Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`t${n}`, []])));
  const refs = await Promise.all(Array.from({ length: 10 }, (_, n) => worker(deps, `w${n}`, 10)));
  await start(deps, "many");
  const taken = await Promise.all(refs.map((ref) => inTx(pool, claiming(deps, ref))));
  const rest = await claimAll(deps, refs[0]!);
  expect(taken.reduce((sum, n) => sum + n, rest.length)).toBe(60);
});

test("keeps with the attempt which version of the program took it", async () => {
  const { deps, pool } = database;
  await publish(deps, "versions", { a: [] });
  const ref = await registerWorker(deps, { ...registration("w"), version: "1.2.3" });
  await start(deps, "versions");
  await claimAll(deps, ref);
  const { rows } = await pool.query("select worker_version as version from sluice.live_attempt");
  expect(rows).toEqual([{ version: "1.2.3" }]);
});
