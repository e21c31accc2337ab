import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { markRunPaused } from "#lib/db/pauses.ts";
import { insertAction } from "#lib/db/run-actions.ts";
import { inTx } from "#lib/db/tx.ts";
import { carryOutActions } from "#lib/engine/carry-out-actions.ts";
import { cancelRun } from "#lib/engine/run-actions.ts";
import { nothingBroken } from "#lib/testing/backfills.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { forgetRuns, publish, runState, start } from "#lib/testing/engine.ts";
import { held, type Held, waitsForLock } from "#lib/testing/races.ts";
import { killProcess, startScheduler } from "#lib/testing/scheduler-process.ts";

/** Schedulers that die or stand still between the slices of a large action. */

const database = testDatabase();
const LOOK_AGAIN_MS = 20;
/** Three slices of 5,000 tasks at most. */
const TASKS = 11_000;
const AFTER_ONE_SLICE = 5_000;
/** So long the database waits for a scheduler that stands still in a transaction, instead of ten seconds. */
const STANDS_STILL_MS = 4_000;

let dagsDir: string;
let schedulers: ChildProcess[];

beforeEach(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-actions-"));
  schedulers = [];
  await forgetRuns(database.deps);
});

afterEach(async () => {
  await Promise.all(schedulers.map(killProcess));
  await database.pool.query("drop function if exists sluice.gate cascade");
  await rm(dagsDir, { recursive: true });
});

async function scheduler(): Promise<ChildProcess> {
  const url = new URL(database.url);
  url.searchParams.set("idle_in_transaction_session_timeout", String(STANDS_STILL_MS));
  const child = await startScheduler({ databaseUrl: url.href, dagsDir });
  schedulers.push(child);
  return child;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(LOOK_AGAIN_MS);
}

/** No slice but the first one of an action is committed before this is. */
async function gate(): Promise<Held<unknown>> {
  const { deps, pool } = database;
  await pool.query(`
    create function sluice.gate() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(7);
      return new;
    end $$;
    create trigger gate before update on sluice.run_action for each row
      when (new.done > ${AFTER_ONE_SLICE}) execute function sluice.gate()`);
  return held(deps, (tx) => tx.query("select pg_advisory_xact_lock(7)"));
}

type Kind = "cancel" | "clear" | "pause";

/** A run of many tasks; for a clear one that has ended. */
async function largeRun(kind: Kind): Promise<string> {
  const { deps } = database;
  await publish(deps, "large", Object.fromEntries(Array.from({ length: TASKS }, (_, n) => [`t${n}`, []])));
  const runId = await start(deps, "large");
  if (kind === "clear") {
    await cancelRun(deps, runId, { actor: "anna" });
    await carryOutActions(deps);
    expect(await runState(deps, runId)).toBe("cancelled");
  }
  return runId;
}

async function actions(): Promise<number[]> {
  const { rows } = await database.pool.query<{ done: number }>("select done from sluice.run_action");
  return rows.map(({ done }) => done);
}

/** Every task has moved once by the action, and the run once; or every task is held. */
async function isDoneOnce(runId: string, kind: Kind): Promise<void> {
  const { pool, deps } = database;
  if (kind === "pause") {
    const held = await pool.query("select from sluice.task_instance where run_id = $1 and held", [runId]);
    expect(held.rowCount).toBe(TASKS);
    expect((await pool.query("select from sluice.quarantine")).rowCount).toBe(0);
    await pool.query("analyze sluice.task_instance, sluice.event, sluice.dag_task");
    return nothingBroken(deps);
  }
  const { rows } = await pool.query(
    `select count(*)::int as events, count(distinct task_instance_id)::int as tasks
       from sluice.event where run_id = $1 and actor = 'bert' and task_instance_id is not null
        and to_state = any ($2)`,
    [runId, kind === "cancel" ? ["cancelled"] : ["waiting"]],
  );
  const moved = kind === "cancel" ? TASKS : AFTER_ONE_SLICE * 2;
  expect(rows).toEqual([{ events: moved, tasks: moved }]);
  const run = await pool.query(
    "select to_state from sluice.event where run_id = $1 and actor = 'bert' and task_instance_id is null",
    [runId],
  );
  expect(run.rows).toEqual([{ to_state: kind === "cancel" ? "cancelled" : "queued" }]);
  expect((await pool.query("select from sluice.quarantine")).rowCount).toBe(0);
  // Without statistics the planner takes these tables for small ones.
  await pool.query("analyze sluice.task_instance, sluice.event, sluice.dag_task");
  await nothingBroken(deps);
}

async function ask(runId: string, kind: Kind): Promise<void> {
  if (kind === "pause") expect(await inTx(database.pool, (tx) => markRunPaused(tx, runId, "bert"))).toEqual([runId]);
  else await insertAction(database.pool, runId, { kind, args: {}, actor: "bert", reason: null });
}

describe.each(["cancel", "clear", "pause"] as const)("a large %s", (kind) => {
  /** A scheduler that has carried out one slice and is at the second one. */
  async function atTheSecondSlice(runId: string, child: Promise<ChildProcess>): Promise<ChildProcess> {
    const process = await child;
    await ask(runId, kind);
    await until(async () => (await actions())[0] === AFTER_ONE_SLICE);
    await waitsForLock(database.deps);
    return process;
  }

  test("is completed by another scheduler when the one that began it is killed", async () => {
    const runId = await largeRun(kind);
    const opened = await gate();
    const first = await atTheSecondSlice(runId, scheduler());
    await killProcess(first);
    expect(await actions()).toEqual([AFTER_ONE_SLICE]);
    await opened.commit();
    await scheduler();
    await until(async () => (await actions()).length === 0);
    await isDoneOnce(runId, kind);
  });

  test("is completed by another scheduler when the one that began it stands still, which does no harm later", async () => {
    const { deps, pool } = database;
    const runId = await largeRun(kind);
    const opened = await gate();
    const first = await atTheSecondSlice(runId, scheduler());
    first.kill("SIGSTOP");
    await opened.commit();
    const second = await scheduler();
    await until(async () => (await actions()).length === 0);
    await isDoneOnce(runId, kind);
    first.kill("SIGCONT");
    await killProcess(second);
    // It has nothing left of the action that it was at, and carries out the next one.
    await insertAction(pool, runId, { kind: "cancel", args: {}, actor: "carl", reason: null });
    await until(async () => (await actions()).length === 0);
    expect(await runState(deps, runId)).toBe("cancelled");
    if (kind !== "pause") await isDoneOnce(runId, kind);
    expect(first.exitCode).toBeNull();
  });
});
