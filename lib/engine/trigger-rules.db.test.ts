import { beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, start, states, success, worker } from "#lib/testing/engine.ts";
import type { Claimed } from "#lib/db/claims.ts";
import { finish } from "./finish.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const skipped = (claimed: Claimed) => ({ ...success(claimed), state: "skipped" as const, reason: "CONDITION" });

/** A run of two parents that are running and a child that accepts all ends if one parent succeeded. */
async function begin(): Promise<{ runId: string; a: Claimed; b: Claimed }> {
  const { deps } = database;
  const bash = { type: "bash", config: { command: "true" } };
  const child = { id: "c", ...bash, dependsOn: ["a", "b"], triggerRule: "all_done_min_one_success" };
  const spec = DagSpec.parse({ id: "rule", tasks: [{ id: "a", ...bash }, { id: "b", ...bash }, child] });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: "rule.yaml", source: "", author: "test" }));
  const w = await worker(deps, "w");
  const runId = await start(deps, "rule");
  const [a, b] = await claimAll(deps, w);
  return { runId, a: a!, b: b! };
}

test("all_done_min_one_success skips its task as soon as a parent was skipped, while another runs", async () => {
  const { runId, a } = await begin();
  await finish(database.deps, [skipped(a)], "worker:w");
  expect(await states(database.deps, runId)).toEqual(["skipped", "running", "skipped"]);
});

test.each([
  { first: success, state: "success" },
  { first: failed, state: "failed" },
])(
  "all_done_min_one_success skips its task when one parent ended as $state and the other was skipped",
  async ({ first, state }) => {
    const { runId, a, b } = await begin();
    await finish(database.deps, [first(a)], "worker:w");
    expect(await states(database.deps, runId)).toEqual([state, "running", "waiting"]);
    await finish(database.deps, [skipped(b)], "worker:w");
    expect(await states(database.deps, runId)).toEqual([state, "skipped", "skipped"]);
  },
);

test("all_done_min_one_success starts its task when one parent succeeded and the other failed", async () => {
  const { runId, a, b } = await begin();
  await finish(database.deps, [failed(a)], "worker:w");
  await finish(database.deps, [success(b)], "worker:w");
  expect((await states(database.deps, runId)).slice(0, 2)).toEqual(["failed", "success"]);
  expect((await states(database.deps, runId))[2]).toMatch(/^(ready|queued)$/);
});
