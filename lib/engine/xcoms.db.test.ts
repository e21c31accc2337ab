import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import type { Claimed } from "#lib/db/claims.ts";
import { deleteExpiredXcoms, readParentXcoms, runXcoms } from "#lib/db/xcoms.ts";
import { storableJson } from "#lib/domain/output.ts";
import { type ParentXcoms, storedJson } from "#lib/domain/xcom.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, moveClock, publish, start, success, worker, forgetRuns } from "#lib/testing/engine.ts";
import { finish } from "./finish.ts";
import { clearTask } from "./run-actions.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const MiB = 2 ** 20;

async function parentsOf({ taskInstanceId }: Claimed, maxBytes = MiB): Promise<ParentXcoms | undefined> {
  return (await readParentXcoms(database.pool, [taskInstanceId], maxBytes)).get(taskInstanceId);
}

/** Two parents ended with these XComs; answers their child, claimed. */
async function childOf(id: string, left: Record<"a" | "b", object>): Promise<{ child: Claimed; a: Claimed }> {
  const { deps } = database;
  await publish(deps, id, { a: [], b: [], c: ["a", "b"] });
  const w = await worker(deps, "w");
  await start(deps, id);
  const [a, b] = await claimAll(deps, w);
  await finish(
    deps,
    [
      { ...success(a!), ...left.a },
      { ...success(b!), ...left.b },
    ],
    "worker:w",
  );
  const [child] = await claimAll(deps, w);
  return { child: child!, a: a! };
}

test("a task sees the outputs of its parents and what else they pushed", async () => {
  const { child, a } = await childOf("seen", {
    a: { output: '{"rows":3}', pushed: { file: '"a.csv"', "x-y": "[1]" } },
    b: { pushed: { only: "null" } },
  });
  expect(await parentsOf(child)).toEqual({
    outputs: { a: { rows: 3 } },
    xcoms: { a: { file: "a.csv", "x-y": [1] }, b: { only: null } },
  });
  expect((await runXcoms(database.pool, child.runId)).get(a.taskInstanceId)).toEqual({
    return_value: { rows: 3 },
    file: "a.csv",
    "x-y": [1],
  });
});

test("what a refused end pushed is not there, and what a cleared task pushed goes", async () => {
  const { deps } = database;
  const { child, a } = await childOf("refused", { a: { pushed: { k: "1" } }, b: {} });
  await finish(deps, [{ ...success(a), pushed: { k: "2", late: "3" }, output: "4" }], "worker:w");
  expect(await parentsOf(child)).toEqual({ outputs: {}, xcoms: { a: { k: 1 } } });
  await clearTask(deps, a.taskInstanceId, { actor: "anna" });
  expect(await parentsOf(child)).toEqual({ outputs: {}, xcoms: {} });
});

test("what has expired is not seen, and is removed; the rest stays", async () => {
  const { deps, pool } = database;
  const { child } = await childOf("expired", { a: { output: "1", xcomTtlMs: 60_000 }, b: { output: "2" } });
  expect((await parentsOf(child))?.outputs).toEqual({ a: 1, b: 2 });
  await moveClock(deps, "2 minutes");
  expect((await parentsOf(child))?.outputs).toEqual({ b: 2 });
  await deleteExpiredXcoms(pool);
  await moveClock(deps, "0");
  expect((await parentsOf(child))?.outputs).toEqual({ b: 2 });
});

test("more than a worker may hold is not handed over", async () => {
  const { child } = await childOf("large", { a: { output: JSON.stringify("xy".repeat(3_000)) }, b: { output: "1" } });
  const { rows } = await database.pool.query<{ size: number }>("select sum(bytes)::int as size from sluice.xcom");
  expect(await parentsOf(child, rows[0]!.size)).toBeDefined();
  expect(await parentsOf(child, rows[0]!.size - 1)).toBeUndefined();
});

test("what a parent hands to its child in the worker is what the database returns, to the order of its members", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue({ maxDepth: 4 }), { maxLength: 30 }), async (values) => {
      const texts = values.flatMap((value) => {
        const kept = storableJson(value);
        return kept.ok && kept.json !== undefined ? [kept.json] : [];
      });
      const { rows } = await database.pool.query<{ values: unknown[] }>(
        "select coalesce(jsonb_agg(t::jsonb order by n), '[]') as values from unnest($1::text[]) with ordinality x(t, n)",
        [texts],
      );
      expect(JSON.stringify(texts.map(storedJson))).toBe(JSON.stringify(rows[0]!.values));
    }),
    { numRuns: 50 },
  );
});
