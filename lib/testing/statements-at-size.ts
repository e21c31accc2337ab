import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { waitingClasses } from "#lib/db/admission-classes.ts";
import { ringingBells } from "#lib/db/bells.ts";
import { readCallback } from "#lib/db/callbacks.ts";
import type { Claimed, WorkerRef } from "#lib/db/claims.ts";
import { extendLeases } from "#lib/db/lost-attempts.ts";
import type { LogChunk } from "#lib/db/task-logs.ts";
import type { Finish } from "#lib/db/finishes.ts";
import { deleteOldWaitSpans } from "#lib/db/waits.ts";
import { renewLeases } from "#lib/db/workers.ts";
import { DagSpec } from "#lib/domain/model/dag.ts";
import { publishVersion } from "#lib/db/versions.ts";
import { inTx } from "#lib/db/tx.ts";
import { carryOutActions } from "#lib/engine/carry-out-actions.ts";
import { deleteExpiredXcoms, readParentXcoms, runXcoms } from "#lib/db/xcoms.ts";
import { listAttempts, listRunAttempts } from "#lib/db/attempt-reads.ts";
import { findBackfill } from "#lib/db/backfill-reads.ts";
import { listRecentRuns } from "#lib/db/dag-reads.ts";
import { findRun, findTaskInstance, listRunTasks } from "#lib/db/run-reads.ts";
import { listSchedules } from "#lib/db/schedule-reads.ts";
import { overdueSchedules } from "#lib/db/schedules.ts";
import { findQueuedRun, findSituation, listSituations } from "#lib/db/situation-reads.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { claimSome, moveClock, registration } from "#lib/testing/engine.ts";
import { fillHistory, HISTORY_DAG } from "#lib/testing/history.ts";
import { namedStatements } from "#lib/testing/named-statements.ts";
import { forgetWhatComesAndGoes } from "#lib/testing/stale-statistics.ts";
import { headOf, type PlanWatch, problemsOf, watchPlans } from "#lib/testing/plans.ts";
import { january, publishDaily } from "#lib/testing/backfills.ts";
import { admit, admitDue, admitLeft } from "#lib/engine/admit.ts";
import { cancelBackfill } from "#lib/engine/backfill/cancel.ts";
import { createBackfill } from "#lib/engine/backfill/create.ts";
import { retryBackfill } from "#lib/engine/backfill/retry.ts";
import { tendBackfills } from "#lib/engine/backfill/tend.ts";
import { dispatchCallbacks } from "#lib/engine/dispatch-callbacks.ts";
import { finish } from "#lib/engine/finish.ts";
import { fireDueSchedules } from "#lib/engine/fire-schedules.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "#lib/engine/pause.ts";
import { registerWorker } from "#lib/engine/register-worker.ts";
import { createUnneededRows } from "#lib/engine/delete-unneeded.ts";
import { forgetWorkers } from "#lib/engine/forget-workers.ts";
import { deleteExpired, deleteLeftBehind, rotateGenerations } from "#lib/engine/retention.ts";
import { cancelRun, clearRun } from "#lib/engine/run-actions.ts";

import { startAllQueuedRuns } from "#lib/engine/start-all-queued-runs.ts";
import { startRun } from "#lib/engine/start-run.ts";
import { handBack, sweep, sweepAll, takeBackExpired } from "#lib/engine/sweep.ts";

type Exception = { text: string; kind: string; because: string };

/** Statements that may do more than in proportion, each with its reason. */
const EXCEPTIONS: readonly Exception[] = [
  { text: "delete from sluice.xcom", kind: "partitions", because: "what has expired may be of any run" },
];

/** Named statements that are not run above, each with the reason why its size does not matter or where it is seen. */
const NOT_AT_SIZE: Readonly<Record<string, string>> = {
  "find-user-by-name": "one row by a unique key",
  "find-user-by-id": "one row by its key",
  "count-sign-in-try": "at size in sign-in-failures.db.test.ts",
  "forgive-sign-in-try": "at size in sign-in-failures.db.test.ts",
  "delete-forgotten-failures": "at size in sign-in-failures.db.test.ts",
  "set-worker-ahead": "one row by its key",
  "set-worker-trouble": "one row by its key",
  "list-workers": "one row a worker and one a running attempt, for a page that a person opens",
  "say-present": "one row by its key",
  "put-in-quarantine": "one row by its key",
  "read-database-age": "reads catalogs only",
  "oldest-snapshots": "reads pg_stat_activity and its kind only",
  "open-transactions": "reads pg_stat_activity and its kind only",
  "take-lease": "one row of one table",
  "read-workers": "asked only where a task wants a certain worker, which none here does; one row a live worker",
  "read-ready-runs": "asked only for DAGs that limit the tasks of one run, which none here does",
  "over-run-limits": "asked only for DAGs that limit the tasks of one run, which none here does",
  "read-new-ready-classes": "asked of lanes of which a leader knows hundreds of classes: admission-memory.db.test.ts",
  "have-ended": "asked only for versions that no run has any more: delete-unneeded.db.test.ts",
  "delete-version-tasks": "deletes slices of versions that no run has any more: delete-unneeded.db.test.ts",
  "delete-versions": "deletes slices of versions that no run has any more: delete-unneeded.db.test.ts",
};

/**
 * Every statement of the engine at size: what a call does may grow with what it is about, and with nothing else. No join of two
 * large sets row by row, no scan of what has ended, no look into every partition.
 */
export type Installation = {
  /** Of the large run. */
  tasks: number;
  /** Of the worker: what its lane takes at once is these and the dispatch window. */
  slots: number;
  /** With a schedule and work that waits. */
  dags: number;
  endedRuns: number;
  /**
   * `as found`: as the server has gathered them. A number: before each call, of every table whose rows come and go, those that a
   * vacuum leaves which found so many rows, in pages that are full by now.
   */
  statistics: "as found" | number;
};

/** Tests of all statements, in an installation of this size. */
export function testStatementsAtSize(installation: Installation): void {
  const { tasks, slots, dags, endedRuns } = installation;
  const admitted = slots * 1.25;
  const isStale = installation.statistics !== "as found";
  const database = testDatabase();
  const history = {
    generations: 6,
    endedRuns,
    dags,
    readyRunsPerDag: 5,
    task: { queue: "elsewhere" },
    dag: { schedule: [{ cron: "0 0 * * *" }] },
  };

  let watch: PlanWatch;
  let worker: WorkerRef;

  /** Every task's output, a failure that calls, and a join whose rule counts more than successes. */
  const wide = {
    id: "wide",
    limits: { maxActiveRuns: 1_000 },
    tasks: [
      { id: "root", type: "bash", config: { command: "true" } },
      ...Array.from({ length: tasks }, (_, n) => ({
        id: `t${n}`,
        type: "bash",
        config: { command: "true" },
        dependsOn: ["root"],
        callbacks: { onFailure: [{ http: { url: "http://localhost/" } }] },
      })),
      {
        id: "join",
        type: "bash",
        config: { command: "true" },
        dependsOn: Array.from({ length: tasks }, (_, n) => `t${n}`),
        triggerRule: "all_done",
      },
    ],
  };

  beforeAll(async () => {
    const { deps, pool } = database;
    watch = watchPlans(pool);
    // This process is busy for seconds with definitions of 20,000 tasks, and meanwhile deaf to a server that accepts.
    Object.assign(pool.options, { connectionTimeoutMillis: 0, idleTimeoutMillis: 0 });
    // Connections that were opened before are not watched.
    for (let n = 0; n < 8; n++)
      await pool.query("select pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
    await fillHistory(deps, history);
    const spec = DagSpec.parse(wide);
    await inTx(pool, (tx) => publishVersion(tx, spec, { file: "wide.yaml", source: "", author: "test" }));
    worker = await join();
  }, 300_000);

  /** A worker with room for all, whose lease no clock of this test ends. */
  async function join(): Promise<WorkerRef> {
    const ref = await registerWorker(database.deps, registration("w", slots));
    await database.pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 day'");
    return ref;
  }

  /** What `work` does may be in proportion to so many rows. */
  async function about<T>(rows: number, work: () => Promise<T>): Promise<T> {
    if (isStale) await forgetWhatComesAndGoes(database.deps.pool, Number(installation.statistics));
    watch.take();
    const result = await work();
    await database.deps.notifier.flush();
    const broken = watch.take().flatMap((seen) =>
      problemsOf(seen, rows).flatMap(({ kind, says }) => {
        const exception = EXCEPTIONS.find((one) => one.kind === kind && seen.text.includes(one.text));
        return exception === undefined ? [`${kind}: ${says} — ${headOf(seen.text)}`] : [];
      }),
    );
    broken.push(...watch.cutOff().map((text) => `cut off by its time limit: ${text}`));
    expect([...new Set(broken)]).toEqual([]);
    return result;
  }

  async function newRun(idempotencyKey?: string): Promise<string> {
    const run = { dagId: "wide", conf: {}, triggerKind: "manual", actor: "test", idempotencyKey } as const;
    return (await startRun(database.deps, run)).runId;
  }

  const claimMany = (max: number): Promise<Claimed[]> => claimSome(database.deps, worker, max);

  async function endAll(claimed: readonly Claimed[], how: Partial<Finish>): Promise<void> {
    const ends = claimed.map(({ taskInstanceId, token }): Finish => {
      return { taskInstanceId, token, state: "success", reason: "EXIT", ...how };
    });
    expect(await finish(database.deps, ends, "worker:w")).toHaveLength(claimed.length);
  }

  const by = { actor: "anna" };
  let runId: string;

  /** What an action or an end has left to do, in slices, as schedulers do it. */
  async function left(): Promise<void> {
    await about(tasks, () => carryOutActions(database.deps));
    await about(tasks, () => sweep(database.deps));
    // Its parts also where the look says that they would find nothing.
    await about(tasks, () => sweepAll(database.deps));
  }

  test("a large run starts, fails at its root, is settled, cleared and cancelled", async () => {
    const { deps } = database;
    const another = await about(tasks, () => newRun());
    await about(tasks, () => cancelRun(deps, another, by));
    await left();
    runId = await about(tasks, () => newRun("key"));
    const [root] = await about(1, () => claimMany(1));
    await about(tasks, () => endAll([root!], { state: "failed" }));
    await left();
    await about(tasks, () => clearRun(deps, runId, {}, by));
    await left();
    await about(tasks, () => cancelRun(deps, runId, by));
    await left();
    await about(tasks, () => clearRun(deps, runId, {}, by));
    await left();
  }, 120_000);

  test("its tasks become ready, are held and freed; a lane full of them is admitted", async () => {
    const { deps, pool } = database;
    await about(tasks, () => startAllQueuedRuns(deps));
    // Its tasks are let go.
    await left();
    const [root] = await about(tasks, () => claimMany(1));
    await about(tasks, () => endAll([root!], {}));
    await about(tasks, () => pauseRun(deps, runId, "anna"));
    await left();
    await about(tasks, () => resumeRun(deps, runId));
    await left();
    await about(tasks, () => pauseDag(deps, "wide", "anna"));
    await left();
    await about(tasks, () => unpauseDag(deps, "wide"));
    await left();
    await about(admitted, () => admit(deps));
    await about(admitted, () => ringingBells(pool, ["default.process"]));
  }, 120_000);

  test("attempts are claimed, renewed, handed back, and lost; what they say is kept", async () => {
    const { deps, pool } = database;
    const claimed = await about(admitted, () => claimMany(admitted));
    expect(claimed).toHaveLength(admitted);
    // Beside thousands that are ready.
    expect(await about(10, () => claimMany(10))).toHaveLength(10);
    await about(admitted, () => renewLeases(pool, worker, claimed, LEASE_MS));
    const chunks = claimed.map((attempt): LogChunk => ({
      ...attempt,
      seq: 0,
      stream: "stdout",
      bytes: Buffer.from("x"),
    }));
    await about(admitted, () => deps.logs.append(chunks));
    await about(1, () => deps.logs.read(claimed[0]!, -1));
    await about(admitted, () => deps.logs.recordLosses(claimed.map((attempt) => ({ ...attempt, seq: 1, bytes: 1 }))));
    const tokens = claimed.map(({ token }) => token);
    await about(admitted, () => extendLeases(pool, worker, tokens, LEASE_MS));
    await about(admitted, () => handBack(deps, worker));
    await about(admitted, () => admit(deps));
    expect(await about(admitted, () => claimMany(admitted))).toHaveLength(admitted);
    await moveClock(deps, "1 hour");
    await about(admitted, () => takeBackExpired(deps, 0));
    worker = await join();
    await about(admitted, () => admit(deps));
  }, 120_000);

  test("attempts say 'not yet', are tried again, and end with outputs, failures and calls", async () => {
    const { deps, pool } = database;
    const again = async (how: Partial<Finish>): Promise<void> => {
      const claimed = await about(admitted, () => claimMany(admitted));
      expect(claimed).toHaveLength(admitted);
      await about(admitted, () => endAll(claimed, how));
      await about(admitted, () => admit(deps));
    };
    await again({ state: "deferred", reason: "not yet", lookInMs: 1_000 });
    await again({ state: "failed", retryInMs: 1_000 });
    await moveClock(deps, "1 hour 4 s");
    await about(2 * admitted, () => admitDue(deps));
    await again({ output: "1", xcomTtlMs: 60_000, pushed: { a: "2" } });
    await again({ state: "failed" });
    await left();
    await about(admitted, () => dispatchCallbacks(deps));
    await again({ next: { attemptId: randomUUID(), token: randomUUID() } });
    await about(tasks, () => readParentXcoms(pool, [String((BigInt(runId) << 20n) + BigInt(tasks) + 1n)], 1_000_000));
    await about(tasks, () => runXcoms(pool, runId));
    await about(admitted, () => deleteExpiredXcoms(pool));
    await about(tasks, () => clearRun(deps, runId, { onlyFailed: true, downstream: true }, by));
    await left();
  }, 120_000);

  test("what people see of a large run", async () => {
    const { pool } = database;
    const one = String(BigInt(runId) << 20n);
    await about(1, () => findRun(pool, runId));
    await about(1, () => findTaskInstance(pool, one));
    await about(1, () => listAttempts(pool, one));
    await about(1, () => findSituation(pool, one));
    await about(1, () => findQueuedRun(pool, runId));
    await about(1, () =>
      readCallback(pool, { id: "1", runId, taskInstanceId: one, attempt: 1, event: "failed", index: 0 }),
    );
    await about(tasks, () => listRunTasks(pool, runId));
    await about(tasks, () => listRunAttempts(pool, runId));
    await about(tasks, () => listSituations(pool, runId));
  }, 120_000);

  test("what schedulers do again and again, with DAGs that wait", async () => {
    const { deps, pool } = database;
    const duties = [
      admitLeft,
      carryOutActions,
      sweep,
      sweepAll,
      startAllQueuedRuns,
      tendBackfills,
      dispatchCallbacks,
      rotateGenerations,
    ];
    for (const duty of duties) await about(dags, () => duty(deps));
    await about(dags, () => waitingClasses(pool));
    await about(dags, () => deleteExpiredXcoms(pool));
    await about(dags, () => deleteOldWaitSpans(pool));
    await about(dags, () => overdueSchedules(pool, 10_000));
    await about(dags, () => listSchedules(pool));
    await about(20, () => listRecentRuns(pool, [`${HISTORY_DAG}1`, `${HISTORY_DAG}2`], 10));
  }, 120_000);

  test("what nothing needs any more is deleted, beside runs that ended", async () => {
    const { deps } = database;
    await about(dags, createUnneededRows(deps));
    await about(dags, () => forgetWorkers(deps));
  }, 120_000);

  test("all schedules are due at one instant", async () => {
    const { deps } = database;
    await moveClock(deps, "1 day");
    await about(dags, () => fireDueSchedules(deps));
    await about(dags, () => startAllQueuedRuns(deps));
  }, 120_000);

  test("a backfill of years is made, started, cancelled and retried", async () => {
    const { deps, pool } = database;
    const DATES = 3_000;
    await publishDaily(deps, "daily");
    const created = await about(DATES, () =>
      createBackfill(deps, { ...january("daily"), start: "2016-01-01", end: "2024-03-18", maxActive: 100 }),
    );
    const id = created.kind === "created" ? created.backfillId : expect.fail(created.kind);
    await about(DATES, () => cancelBackfill(deps, id, "anna"));
    await about(DATES, () => carryOutActions(deps));
    await about(DATES, () => tendBackfills(deps));
    await about(DATES, () => retryBackfill(deps, id, "anna"));
    await about(DATES, () => findBackfill(pool, id));
  }, 120_000);

  test("thousands of small runs go on at once: their ends come in batches of many runs", async () => {
    const { deps } = database;
    const RUNS = 2_500;
    const BATCH = 200;
    // Its tasks have the lane to themselves.
    await about(tasks, () => cancelRun(deps, runId, by));
    await left();
    await publishDaily(deps, "small");
    const dates = { start: "2016-01-01", end: "2022-11-04", maxActive: RUNS };
    await about(RUNS, () => createBackfill(deps, { ...january("small"), ...dates }));
    worker = await join();
    await about(RUNS, () => tendBackfills(deps));
    await about(admitted, () => admit(deps));
    for (const how of ["success", "failed"] as const) {
      const claimed = await about(slots, () => claimMany(BATCH));
      expect(new Set(claimed.map(({ runId: of }) => of)).size).toBeGreaterThan(BATCH / 4);
      const output = how === "success" ? "1" : undefined;
      await about(RUNS, () => endAll(claimed, { state: how, output }));
      await about(admitted, () => admit(deps));
    }
    await about(RUNS, () => pauseDag(deps, "small", "anna"));
    await about(RUNS, () => unpauseDag(deps, "small"));
    await left();
  }, 120_000);

  test("runs that have been kept long enough are deleted, 10,000 rows at a time", async () => {
    const { deps } = database;
    await moveClock(deps, "26 days");
    await about(10_000, () => deleteExpired(deps));
    await about(10_000, () => deleteLeftBehind(deps));
  }, 120_000);

  test.skipIf(isStale)("every named statement is run here, or has a reason not to be", () => {
    const named = namedStatements();
    expect(named.size).toBeGreaterThan(60);
    const unseen = [...named.keys()].filter((name) => !watch.names.has(name) && !(name in NOT_AT_SIZE));
    expect(unseen).toEqual([]);
    // One that is not prepared any more needs no reason.
    expect(Object.keys(NOT_AT_SIZE).filter((name) => !named.has(name))).toEqual([]);
  });
}
