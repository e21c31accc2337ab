import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { finishRunning } from "#lib/db/finishes.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { TRIGGER_RULES, type TriggerRule } from "#lib/domain/model/task.ts";
import { countParents, decide } from "#lib/domain/trigger-rules.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, failed, forgetRuns, start, states, success, worker } from "#lib/testing/engine.ts";
import { finish } from "./finish.ts";
import { LEASE_MS } from "./lease.ts";
import { clearRun } from "./run-actions.ts";
import { settleRun } from "./settle-run.ts";

/** A run is settled when a rule is decided by how parents have ended, and not at each of their ends. */

const database = testDatabase();
const PARENTS = 4;
const END = {
  success,
  failed,
  skipped: (held: Parameters<typeof success>[0]) => ({ ...success(held), state: "skipped" as const }),
};
type End = keyof typeof END;

beforeEach(() => forgetRuns(database.deps));

async function publishJoin(rule: TriggerRule): Promise<void> {
  const ids = Array.from({ length: PARENTS }, (_, n) => `p${n}`);
  const task = (id: string, more: object = {}) => ({ id, type: "bash", config: { command: "true" }, ...more });
  const spec = DagSpec.parse({
    id: `join-${rule.replaceAll("_", "-")}`,
    tasks: [...ids.map((id) => task(id)), task("join", { dependsOn: ids, triggerRule: rule })],
  });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "join.yaml", source: "", author: "test" }));
}

test.for(TRIGGER_RULES)("under %s, an end calls for settling exactly when it decides the rule", async (rule) => {
  const { deps, pool } = database;
  await publishJoin(rule);
  const w = await worker(deps, "w");
  const ends = fc.array(fc.constantFrom<End>("success", "failed", "skipped"), {
    minLength: PARENTS,
    maxLength: PARENTS,
  });
  await fc.assert(
    fc.asyncProperty(ends, async (given) => {
      const runId = await start(deps, `join-${rule.replaceAll("_", "-")}`);
      const claimed = (await claimAll(deps, w)).filter(({ taskId }) => taskId !== "join");
      let done: End[] = [];
      for (const [n, end] of given.entries()) {
        const before = (await states(deps, runId))[PARENTS];
        if (before !== "waiting") break;
        done = [...done, end];
        const parents = [...done, ...Array.from({ length: PARENTS - done.length }, () => "running" as const)];
        const verdict = decide(rule, countParents(parents));
        const { unsettledRuns } = await finishRunning(pool, [END[end](claimed[n]!)], "worker:w", LEASE_MS);
        // One that is ready by the count of successes needs no settling.
        const after = (await states(deps, runId))[PARENTS];
        expect({ rule, done, settles: unsettledRuns.length > 0 || after !== "waiting" }).toEqual({
          rule,
          done,
          settles: verdict !== "waiting",
        });
        if (unsettledRuns.length > 0) await settleRun(deps, runId);
        const now = (await states(deps, runId))[PARENTS];
        // What the end itself makes ready is admitted at once, where nothing else waits.
        expect(now === "queued" ? "ready" : now).toBe(verdict);
      }
      await forgetRuns(deps);
      await worker(deps, "w");
    }),
    { numRuns: 6 },
  );
});

test("a clear counts anew", async () => {
  const { deps, pool } = database;
  await publishJoin("all_done");
  const w = await worker(deps, "w");
  const runId = await start(deps, "join-all-done");
  const [a, b] = await claimAll(deps, w);
  await finish(deps, [failed(a!), failed(b!)], "worker:w");
  const counts = async (): Promise<unknown[]> =>
    (await pool.query<{ failed: number }>("select failed from sluice.parent_ends")).rows;
  expect(await counts()).toEqual([{ failed: 2 }]);
  await clearRun(deps, runId, { tasks: [a!.taskId] }, { actor: "anna" });
  expect(await counts()).toEqual([{ failed: 1 }]);
});
