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
import { carryOutActions } from "./carry-out-actions.ts";
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
import { headOf, type PlanWatch, problemsOf, watchPlans } from "#lib/testing/plans.ts";
import { january, publishDaily } from "#lib/testing/backfills.ts";
import { admit, admitDue, admitLeft } from "./admit.ts";
import { cancelBackfill } from "./backfill/cancel.ts";
import { createBackfill } from "./backfill/create.ts";
import { retryBackfill } from "./backfill/retry.ts";
import { tendBackfills } from "./backfill/tend.ts";
import { dispatchCallbacks } from "./dispatch-callbacks.ts";
import { finish } from "./finish.ts";
import { fireDueSchedules } from "./fire-schedules.ts";
import { LEASE_MS } from "./lease.ts";
import { pauseDag, pauseRun, resumeRun, unpauseDag } from "./pause.ts";
import { registerWorker } from "./register-worker.ts";
import { createUnneededRows } from "./delete-unneeded.ts";
import { forgetWorkers } from "./forget-workers.ts";
import { deleteExpired, deleteLeftBehind, rotateGenerations } from "./retention.ts";
import { cancelRun, clearRun } from "./run-actions.ts";

import { startAllQueuedRuns } from "./start-all-queued-runs.ts";
import { startRun } from "./start-run.ts";
import { handBack, sweep, sweepAll, takeBackExpired } from "./sweep.ts";

/**
 * Every statement at the size of an installation that is months old: six generations, 200,000 ended runs, 2,000 DAGs with work
 * that waits, and runs of 20,000 tasks. What a call does may grow with what it is about, and with nothing else: no join of
 * two large sets row by row, no scan of what has ended, no look into every partition.
 */

const database = testDatabase();
const TASKS = 20_000;
/** What one worker's lane takes at once: its slots and the dispatch window. */
const SLOTS = 4_000;
const ADMITTED = SLOTS * 1.25;
const DAGS = 2_000;
const HISTORY = {
  generations: 6,
  endedRuns: 200_000,
  dags: DAGS,
  readyRunsPerDag: 5,
  task: { queue: "elsewhere" },
  dag: { schedule: [{ cron: "0 0 * * *" }] },
};

let watch: PlanWatch;
let worker: WorkerRef;

/** Every task's output, a failure that calls, and a join whose rule counts more than successes. */
const WIDE = {
  id: "wide",
  limits: { maxActiveRuns: 1_000 },
  tasks: [
    { id: "root", type: "bash", config: { command: "true" } },
    ...Array.from({ length: TASKS }, (_, n) => ({
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
      dependsOn: Array.from({ length: TASKS }, (_, n) => `t${n}`),
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
  for (let n = 0; n < 8; n++) await pool.query("select pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
  await fillHistory(deps, HISTORY);
  const spec = DagSpec.parse(WIDE);
  await inTx(pool, (tx) => publishVersion(tx, spec, { file: "wide.yaml", source: "", author: "test" }));
  worker = await join();
}, 300_000);

/** A worker with room for all, whose lease no clock of this test ends. */
async function join(): Promise<WorkerRef> {
  const ref = await registerWorker(database.deps, registration("w", SLOTS));
  await database.pool.query("update sluice.worker set lease_until = sluice.clock() + interval '1 day'");
  return ref;
}

type Exception = { text: string; kind: string; because: string };

/** Statements that may do more than in proportion, each with its reason. */
const EXCEPTIONS: readonly Exception[] = [
  { text: "delete from sluice.xcom", kind: "partitions", because: "what has expired may be of any run" },
];

/** What `work` does may be in proportion to so many rows. */
async function about<T>(rows: number, work: () => Promise<T>): Promise<T> {
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
  await about(TASKS, () => carryOutActions(database.deps));
  await about(TASKS, () => sweep(database.deps));
  // Its parts also where the look says that they would find nothing.
  await about(TASKS, () => sweepAll(database.deps));
}

test("a run of 20,000 tasks starts, fails at its root, is settled, cleared and cancelled", async () => {
  const { deps } = database;
  const another = await about(TASKS, () => newRun());
  await about(TASKS, () => cancelRun(deps, another, by));
  await left();
  runId = await about(TASKS, () => newRun("key"));
  const [root] = await about(1, () => claimMany(1));
  await about(TASKS, () => endAll([root!], { state: "failed" }));
  await left();
  await about(TASKS, () => clearRun(deps, runId, {}, by));
  await left();
  await about(TASKS, () => cancelRun(deps, runId, by));
  await left();
  await about(TASKS, () => clearRun(deps, runId, {}, by));
  await left();
}, 120_000);

test("20,000 tasks become ready, are held and freed; a lane full of them is admitted", async () => {
  const { deps, pool } = database;
  await about(TASKS, () => startAllQueuedRuns(deps));
  // Its tasks are let go.
  await left();
  const [root] = await about(TASKS, () => claimMany(1));
  await about(TASKS, () => endAll([root!], {}));
  await about(TASKS, () => pauseRun(deps, runId, "anna"));
  await left();
  await about(TASKS, () => resumeRun(deps, runId));
  await left();
  await about(TASKS, () => pauseDag(deps, "wide", "anna"));
  await left();
  await about(TASKS, () => unpauseDag(deps, "wide"));
  await left();
  await about(ADMITTED, () => admit(deps));
  await about(ADMITTED, () => ringingBells(pool, ["default.process"]));
}, 120_000);

test("attempts are claimed, renewed, handed back, and lost; what they say is kept", async () => {
  const { deps, pool } = database;
  const claimed = await about(ADMITTED, () => claimMany(ADMITTED));
  expect(claimed).toHaveLength(ADMITTED);
  // Beside 20,000 that are ready.
  expect(await about(10, () => claimMany(10))).toHaveLength(10);
  await about(ADMITTED, () => renewLeases(pool, worker, claimed, LEASE_MS));
  const chunks = claimed.map((attempt): LogChunk => ({
    ...attempt,
    seq: 0,
    stream: "stdout",
    bytes: Buffer.from("x"),
  }));
  await about(ADMITTED, () => deps.logs.append(chunks));
  await about(1, () => deps.logs.read(claimed[0]!, -1));
  await about(ADMITTED, () => deps.logs.recordLosses(claimed.map((attempt) => ({ ...attempt, seq: 1, bytes: 1 }))));
  const tokens = claimed.map(({ token }) => token);
  await about(ADMITTED, () => extendLeases(pool, worker, tokens, LEASE_MS));
  await about(ADMITTED, () => handBack(deps, worker));
  await about(ADMITTED, () => admit(deps));
  expect(await about(ADMITTED, () => claimMany(ADMITTED))).toHaveLength(ADMITTED);
  await moveClock(deps, "1 hour");
  await about(ADMITTED, () => takeBackExpired(deps, 0));
  worker = await join();
  await about(ADMITTED, () => admit(deps));
}, 120_000);

test("attempts say 'not yet', are tried again, and end with outputs, failures and calls", async () => {
  const { deps, pool } = database;
  const again = async (how: Partial<Finish>): Promise<void> => {
    const claimed = await about(ADMITTED, () => claimMany(ADMITTED));
    expect(claimed).toHaveLength(ADMITTED);
    await about(ADMITTED, () => endAll(claimed, how));
    await about(ADMITTED, () => admit(deps));
  };
  await again({ state: "deferred", reason: "not yet", lookInMs: 1_000 });
  await again({ state: "failed", retryInMs: 1_000 });
  await moveClock(deps, "1 hour 4 s");
  await about(2 * ADMITTED, () => admitDue(deps));
  await again({ output: "1", xcomTtlMs: 60_000, pushed: { a: "2" } });
  await again({ state: "failed" });
  await left();
  await about(ADMITTED, () => dispatchCallbacks(deps));
  await again({ next: { attemptId: randomUUID(), token: randomUUID() } });
  await about(TASKS, () => readParentXcoms(pool, [String((BigInt(runId) << 20n) + BigInt(TASKS) + 1n)], 1_000_000));
  await about(TASKS, () => runXcoms(pool, runId));
  await about(ADMITTED, () => deleteExpiredXcoms(pool));
  await about(TASKS, () => clearRun(deps, runId, { onlyFailed: true, downstream: true }, by));
  await left();
}, 120_000);

test("what people see of a run of 20,000 tasks", async () => {
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
  await about(TASKS, () => listRunTasks(pool, runId));
  await about(TASKS, () => listRunAttempts(pool, runId));
  await about(TASKS, () => listSituations(pool, runId));
}, 120_000);

test("what schedulers do again and again, with 2,000 DAGs that wait", async () => {
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
  for (const duty of duties) await about(DAGS, () => duty(deps));
  await about(DAGS, () => waitingClasses(pool));
  await about(DAGS, () => deleteExpiredXcoms(pool));
  await about(DAGS, () => deleteOldWaitSpans(pool));
  await about(DAGS, () => overdueSchedules(pool, 10_000));
  await about(DAGS, () => listSchedules(pool));
  await about(20, () => listRecentRuns(pool, [`${HISTORY_DAG}1`, `${HISTORY_DAG}2`], 10));
}, 120_000);

test("what nothing needs any more is deleted, beside 200,000 runs that ended", async () => {
  const { deps } = database;
  await about(DAGS, createUnneededRows(deps));
  await about(DAGS, () => forgetWorkers(deps));
}, 120_000);

test("2,000 schedules are due at one instant", async () => {
  const { deps } = database;
  await moveClock(deps, "1 day");
  await about(DAGS, () => fireDueSchedules(deps));
  await about(DAGS, () => startAllQueuedRuns(deps));
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

test("runs that have been kept long enough are deleted, 10,000 rows at a time", async () => {
  const { deps } = database;
  await moveClock(deps, "26 days");
  await about(10_000, () => deleteExpired(deps));
  await about(10_000, () => deleteLeftBehind(deps));
}, 120_000);

/** Named statements that are not run above, each with the reason why its size does not matter or where it is seen. */
const NOT_AT_SIZE: Readonly<Record<string, string>> = {
  "find-user-by-name": "one row by a unique key",
  "find-user-by-id": "one row by its key",
  "set-worker-ahead": "one row by its key",
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

test("every named statement is run here, or has a reason not to be", () => {
  const named = namedStatements();
  expect(named.size).toBeGreaterThan(60);
  const unseen = [...named.keys()].filter((name) => !watch.names.has(name) && !(name in NOT_AT_SIZE));
  expect(unseen).toEqual([]);
  // One that is not prepared any more needs no reason.
  expect(Object.keys(NOT_AT_SIZE).filter((name) => !named.has(name))).toEqual([]);
});
