import { beforeEach, expect, test } from "vitest";
import { putInQuarantine } from "#lib/db/quarantine.ts";
import { insertAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { setWorkerState } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import type { Priority } from "#lib/domain/model/task.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimAll, forgetRuns, patrolAdmission, start, success, worker } from "#lib/testing/engine.ts";
import { held } from "#lib/testing/races.ts";
import { carryOutActions } from "./carry-out-actions.ts";
import { finish } from "./finish.ts";
import { cancelRun } from "./run-actions.ts";
import { sweep } from "./sweep.ts";

/** A run whose action is not carried out yet, or is in quarantine, keeps no slot from other runs. */

const database = testDatabase();
const SLOTS = 4;

beforeEach(() => forgetRuns(database.deps));

async function publishWide(id: string, count: number, priority: Priority = "medium"): Promise<void> {
  const tasks = Array.from({ length: count }, (_, n) => ({ id: `t${n}`, type: "bash", config: { command: "true" } }));
  const spec = DagSpec.parse({ id, priority, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: `${id}.yaml`, source: "", author: "test" }));
}

/** What schedulers do again and again. */
async function schedulersPass(): Promise<void> {
  const { deps } = database;
  // That one run is locked is thrown after the rest is done.
  await carryOutActions(deps).catch(() => undefined);
  await sweep(deps);
  await patrolAdmission(deps);
}

async function quarantinedMark(runId: string): Promise<void> {
  const { pool } = database;
  await insertAction(pool, runId, { kind: "mark", args: { slot: 0, to: "skipped" }, actor: "anna", reason: null });
  await putInQuarantine(pool, "actions", runId, "canceling statement due to statement timeout");
}

test("what is handed over of it is taken back", async () => {
  const { deps } = database;
  await publishWide("stopped", 50);
  await publishWide("innocent", 3);
  const w = await worker(deps, "w", SLOTS);
  await quarantinedMark(await start(deps, "stopped"));
  await start(deps, "innocent");
  await schedulersPass();
  expect((await claimAll(deps, w)).map(({ dagId }) => dagId)).toEqual(["innocent", "innocent", "innocent"]);
});

test("the same while a session has the run locked", async () => {
  const { deps } = database;
  await publishWide("stopped", 50);
  await publishWide("innocent", 3);
  const w = await worker(deps, "w", SLOTS);
  const stopped = await start(deps, "stopped");
  const lock = await held(deps, (tx) => tx.query("select from sluice.dag_run where id = $1 for key share", [stopped]));
  expect(await cancelRun(deps, stopped, { actor: "anna" })).toBe(true);
  await start(deps, "innocent");
  await schedulersPass();
  expect(await claimAll(deps, w)).toHaveLength(3);
  await lock.commit();
});

test("what is ready of it takes no turn", async () => {
  const { deps, pool } = database;
  await publishWide("stopped", 200, "high");
  await publishWide("innocent", 40, "low");
  const w = await worker(deps, "w", SLOTS);
  await setWorkerState(pool, w, "draining");
  const stopped = await start(deps, "stopped");
  await start(deps, "innocent");
  await pool.query("update sluice.worker set state = 'active'");
  await quarantinedMark(stopped);
  for (let left = 40; left > 0;) {
    await schedulersPass();
    const claimed = await claimAll(deps, w);
    expect(claimed.length).toBeGreaterThanOrEqual(Math.min(SLOTS, left));
    await finish(deps, claimed.map(success), "worker:w");
    left -= claimed.length;
  }
});
