import { randomUUID } from "node:crypto";
import { beforeEach, expect, test } from "vitest";
import { type Continued, finishRunning } from "#lib/db/finishes.ts";
import { enterGenerations, listGenerations, openGeneration } from "#lib/db/generations.ts";
import type { Tx } from "#lib/db/pool.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, publish, start, success, worker } from "#lib/testing/engine.ts";

const database = testDatabase();

beforeEach(() => forgetRuns(database.deps));

const MOST_LOCKS = 40;

/** The relations that a transaction has locked, with how often, by name. */
async function lockedRelations(tx: Tx): Promise<string[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select c.relname as name from pg_locks l join pg_class c on c.oid = l.relation
      where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relnamespace = 'sluice'::regnamespace order by 1, l.mode`,
  );
  return rows.map(({ name }) => name.replace(/_g\d+/, ""));
}

/** The locks of one success with one XCom and a child that goes on, at its second time on a connection: with its plans made. */
async function locksOfStep(): Promise<string[]> {
  const { deps, pool } = database;
  const w = await worker(deps, "w");
  const runId = await start(deps, "chain");
  let [attempt]: Pick<Continued, "taskInstanceId" | "token">[] = (await claimAll(deps, w)).filter(
    (one) => one.runId === runId,
  );
  const client = await pool.connect();
  try {
    let locks: string[] = [];
    for (let step = 0; step < 6; step++) {
      await client.query("begin");
      const next = { attemptId: randomUUID(), token: randomUUID() };
      const end = { ...success(attempt!), output: "1", next };
      const { continued } = await finishRunning(client, [end], "worker:w", 30_000);
      locks = await lockedRelations(client);
      await client.query("commit");
      attempt = continued.get(attempt!.taskInstanceId)!;
      expect(attempt).toBeDefined();
    }
    return locks;
  } finally {
    client.release();
  }
}

test("a success with an XCom and a child that goes on locks few relations, however many generations there are", async () => {
  const { deps, pool } = database;
  await publish(
    deps,
    "chain",
    Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`t${n}`, n === 0 ? [] : [`t${n - 1}`]])),
  );
  const few = await locksOfStep();
  const before = (await listGenerations(pool)).length;
  while ((await listGenerations(pool)).length < before + 19) await openGeneration(pool, 30);
  await enterGenerations(pool);
  const many = await locksOfStep();
  expect(many).toEqual(few);
  expect(many.length).toBeLessThanOrEqual(MOST_LOCKS);
});
