import { afterEach, describe, expect, test } from "vitest";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { pauseDag, pauseRun } from "#lib/engine/pause.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, forgetRuns, keepsLease, moveClock, registration, start } from "#lib/testing/engine.ts";
import { checkInvariants } from "./invariants.ts";
import { inTx } from "./tx.ts";
import { publishVersion } from "./versions.ts";

/** Runs that go on beyond their DAG's limit, and what begins of something that is paused, are found. */

const database = testDatabase();

afterEach(() => forgetRuns(database.deps));

async function publish(maxActiveRuns: number, description: string): Promise<void> {
  const tasks = ["a", "b"].map((id) => ({ id, type: "bash", config: { command: "true" } }));
  const spec = DagSpec.parse({ id: "few", description, limits: { maxActiveRuns }, tasks });
  await inTx(database.pool, (tx) => publishVersion(tx, spec, { file: "few.yaml", source: "", author: "test" }));
}

async function broken(): Promise<string[]> {
  const findings = await inTx(database.pool, checkInvariants);
  return findings.filter((finding) => finding.broken.length > 0).map(({ id }) => id);
}

describe("active-runs", () => {
  test("runs beyond the limit stay found whatever else of the DAG is changed", async () => {
    await publish(1, "before");
    const ids = [
      await start(database.deps, "few"),
      await start(database.deps, "few"),
      await start(database.deps, "few"),
    ];
    await database.pool.query("select sluice.begin_runs($1, null, null)", [ids.slice(1)]);
    expect(await broken()).toEqual(["active-runs"]);
    await publish(1, "after");
    expect(await broken()).toEqual(["active-runs"]);
  });

  test("runs that began before the limit was lower are not found, one that begins later is", async () => {
    await publish(3, "");
    for (let n = 0; n < 3; n++) await start(database.deps, "few");
    await publish(2, "");
    const late = await start(database.deps, "few");
    expect(await broken()).toEqual([]);
    await database.pool.query("select sluice.begin_runs($1, null, null)", [[late]]);
    expect(await broken()).toEqual(["active-runs"]);
  });
});

/** A run of two tasks, of which one runs, handed over or not. */
async function running(slots: number): Promise<string> {
  await publish(1, "");
  const worker = await registerWorker(database.deps, registration("w", slots));
  await keepsLease(database.deps, worker);
  const id = await start(database.deps, "few");
  expect(await claimSome(database.deps, worker, 1)).toHaveLength(1);
  return id;
}

/** What is handed over and begun now, whatever is paused. */
async function begins(): Promise<void> {
  await database.pool.query(
    `with moved as (
       update sluice.task_instance set state = 'queued', attempts = attempts + 1 where state = 'ready' returning *)
     insert into sluice.live_attempt (task_instance_id, number, id, state, workload_id, lane_id, ready_at)
     select id, attempts, gen_random_uuid(), 'queued', workload_id, lane_id, ready_at from moved`,
  );
}

describe("paused-starts", () => {
  const PAUSES: Record<string, (runId: string) => Promise<unknown>> = {
    "a run": (runId) => pauseRun(database.deps, runId, "anna"),
    "a DAG": () => pauseDag(database.deps, "few", "anna"),
  };

  test.for(Object.entries(PAUSES))("of %s that is paused what runs goes on, and nothing begins", async ([, pause]) => {
    const id = await running(9);
    await moveClock(database.deps, "10 s");
    await pause(id);
    expect(await broken()).toEqual([]);
    await moveClock(database.deps, "20 s");
    expect(await broken()).toEqual([]);
    await begins();
    expect(await broken()).toEqual(["paused-starts"]);
    // It was handed over before, and has been claimed since.
    await database.pool.query(
      `update sluice.live_attempt a set state = 'running', worker_id = w.id, worker_epoch = w.epoch, token = gen_random_uuid(),
              queued_at = queued_at - interval '1 minute', started_at = sluice.clock(), lease_until = sluice.clock() + interval '1 hour'
         from sluice.worker w where a.state = 'queued'`,
    );
    await database.pool.query("update sluice.task_instance set state = 'running' where state = 'queued'");
    expect(await broken()).toEqual(["paused-starts"]);
  });

  test("a run that begins while its DAG is paused is found", async () => {
    await publish(1, "");
    await pauseDag(database.deps, "few", "anna");
    const id = await start(database.deps, "few");
    await moveClock(database.deps, "20 s");
    expect(await broken()).toEqual([]);
    await database.pool.query("select sluice.begin_runs($1, null, null)", [[id]]);
    await database.pool.query("update sluice.task_instance set held = true");
    expect(await broken()).toEqual(["paused-starts"]);
  });

  test("a second pause keeps the time of the first; a pause after a resume has its own", async () => {
    const id = await running(9);
    const since = async () =>
      (await database.pool.query<{ at: Date | null }>("select paused_at as at from sluice.dag_run")).rows[0]!.at;
    await pauseRun(database.deps, id, "anna");
    const first = await since();
    await moveClock(database.deps, "10 s");
    await pauseRun(database.deps, id, "bert");
    expect(await since()).toEqual(first);
    await database.pool.query("update sluice.dag_run set paused_by = null");
    expect(await since()).toBeNull();
  });
});
