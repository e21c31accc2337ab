import { beforeEach, expect, test } from "vitest";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, patrolAdmission, registration, start } from "#lib/testing/engine.ts";
import { registerWorker } from "./register-worker.ts";

const database = testDatabase();
const SLOTS = 8;
/** The slots and the dispatch window, a quarter of them. */
const HANDED_OVER = 10;

beforeEach(() => forgetRuns(database.deps));

/** A run of twenty tasks in each of these queues. */
async function startWide(queues: readonly string[]): Promise<void> {
  const { deps } = database;
  const tasks = queues.flatMap((queue) =>
    Array.from({ length: 20 }, (_, at) => ({ id: `${queue}-${at}`, type: "bash", queue, config: { command: "true" } })),
  );
  const spec = DagSpec.parse({ id: `wide-${queues.length}`, tasks });
  await inTx(deps.pool, (tx) => publishVersion(tx, spec, { file: `${spec.id}.yaml`, source: "", author: "test" }));
  await start(deps, spec.id);
  for (let pass = 0; pass < 3; pass++) await patrolAdmission(deps);
}

async function handedOver(): Promise<Record<string, number>> {
  const { rows } = await database.pool.query<{ queue: string; n: number }>(
    `select l.queue, count(*)::int as n from sluice.live_attempt a join sluice.lane l on l.id = a.lane_id group by 1 order by 1`,
  );
  return Object.fromEntries(rows.map(({ queue, n }) => [queue, n]));
}

const total = (counts: Record<string, number>): number => Object.values(counts).reduce((sum, n) => sum + n, 0);

test("the slots of a worker that serves three queues are handed out once, and every queue gets some", async () => {
  const queues = ["default", "reports", "loads"];
  await registerWorker(database.deps, { ...registration("w", SLOTS), queues });
  await startWide(queues);
  const counts = await handedOver();
  expect(total(counts)).toBe(HANDED_OVER);
  expect(Object.keys(counts)).toEqual(queues.toSorted());
});

test("queues of workers that have nothing in common count apart", async () => {
  const queues = ["default", "reports"];
  for (const queue of queues) await registerWorker(database.deps, { ...registration(queue, SLOTS), queues: [queue] });
  await startWide(queues);
  expect(await handedOver()).toEqual({ default: HANDED_OVER, reports: HANDED_OVER });
});
