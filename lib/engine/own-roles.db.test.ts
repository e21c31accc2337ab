import { beforeEach, expect, test } from "vitest";
import { ensureAdmin } from "#lib/auth/ensure-admin.ts";
import { signIn } from "#lib/auth/sign-in.ts";
import { classesToRotate, listGenerations } from "#lib/db/generations.ts";
import { readMigrationState } from "#lib/db/readiness-reads.ts";
import type { Login } from "#lib/db/roles/grants.ts";
import { testDatabase } from "#lib/testing/database.ts";
import {
  claimAll,
  forgetRuns,
  moveClock,
  publish,
  registration,
  runState,
  start,
  states,
  success,
} from "#lib/testing/engine.ts";
import { freshGenerations, HISTORY_TABLES, oldRun, partitionsOf, runExists } from "#lib/testing/retention.ts";
import { ownRoles, ROLES } from "#lib/testing/roles.ts";
import { admit } from "./admit.ts";
import { finish } from "./finish.ts";
import { registerWorker } from "./register-worker.ts";
import { deleteExpired, dropEmpty, rotateGenerations } from "./retention.ts";
import { takeBackExpired } from "./sweep.ts";

/** What a process does rarely, as its own role; worker/own-roles.proc.test.ts has what it does all the time. */

const database = testDatabase();
const roles = ownRoles(database);

beforeEach(() => forgetRuns(database.deps));

test("a scheduler opens generations, deletes old runs and drops their history, and owns nothing of it", async () => {
  const { deps, pool } = database;
  await freshGenerations(deps);
  const { runId, generation } = await oldRun(deps, "old");
  const scheduler = await roles.depsOf("scheduler");
  for (const each of [deps, scheduler]) await moveClock(each, "60 days");
  expect(await classesToRotate(scheduler.pool)).toEqual([]);
  await rotateGenerations(scheduler);
  await scheduler.pool.query("select sluice.ensure_class(365, null)");
  for (let waitMs: number | undefined = 0; waitMs !== undefined; waitMs = await deleteExpired(scheduler))
    await pool.query("update sluice.retention set next_slice_at = null");
  expect(await runExists(deps, runId)).toBe(false);
  expect(await partitionsOf(deps, generation)).toEqual(Object.keys(HISTORY_TABLES).toSorted());
  await dropEmpty(scheduler);
  expect(await partitionsOf(deps, generation)).toEqual([]);
  expect((await listGenerations(pool)).map(({ number }) => number)).not.toContain(generation.number);
});

test("a scheduler drops no partition but of a generation that is marked and has no run", async () => {
  const { deps } = database;
  await freshGenerations(deps);
  const { generation } = await oldRun(deps, "kept");
  const { pool } = await roles.depsOf("scheduler");
  const drop = "select sluice.drop_partition($1, $2)";
  await expect(pool.query(drop, ["event", generation.number])).rejects.toMatchObject({ code: "55006" });
  await expect(pool.query(drop, ["app_user", generation.number])).rejects.toMatchObject({ code: "P0002" });
  for (const statement of [
    `drop table sluice.event_g${generation.number}`,
    `alter table sluice.event detach partition sluice.event_g${generation.number}`,
    "create table sluice.mine (id int)",
  ])
    await expect(pool.query(statement)).rejects.toMatchObject({ code: "42501" });
});

test("a worker that dies loses its attempt to another, by a scheduler", async () => {
  const { deps } = database;
  await publish(deps, "plain", { a: [] });
  const [worker, scheduler] = [await roles.depsOf("worker"), await roles.depsOf("scheduler")];
  const first = await registerWorker(worker, registration("w1"));
  const runId = await start(scheduler, "plain");
  expect(await claimAll(worker, first)).toHaveLength(1);
  for (const each of [worker, scheduler]) await moveClock(each, "10 minutes");
  await takeBackExpired(scheduler, 0);
  const second = await registerWorker(worker, registration("w2"));
  await admit(scheduler);
  const [again] = await claimAll(worker, second);
  await finish(worker, [success(again!)], "worker:w2");
  expect([await runState(deps, runId), await states(deps, runId)]).toEqual(["success", ["success"]]);
});

test("web reads what its readiness is made of", async () => {
  const { pool } = await roles.depsOf("web");
  expect(await readMigrationState(pool)).toMatchObject({ open: 0 });
});

test("web checks passwords and counts the wrong ones", async () => {
  await ensureAdmin(database.pool, "correct horse battery");
  const { pool } = await roles.depsOf("web");
  const sign = (password: string) =>
    signIn(pool, { name: "admin", password, address: "192.0.2.1", browserId: undefined });
  expect(await sign("wrong")).toEqual({ kind: "wrong" });
  expect(await sign("correct horse battery")).toMatchObject({ kind: "signed_in" });
});

/** What a process has no business with: statements that its role refuses. */
const REFUSED: [Login, string][] = [
  ["worker", "select from sluice.app_user"],
  ["worker", "select from sluice.sign_in_failure"],
  ["scheduler", "select from sluice.app_user"],
  ["reader", "select from sluice.app_user"],
  ["reader", "select from sluice.sign_in_failure"],
  ["web", "insert into sluice.worker (id) values ('mine')"],
  ["web", "update sluice.dag set current_version_id = 1"],
  ["worker", "update sluice.dag set current_version_id = 1"],
  ["web", "update sluice.dag_version set spec = '{}'"],
  ["web", "insert into sluice.bundle (hash, files) values ('x', '{}')"],
  ["web", "delete from sluice.task_log"],
  ["web", "update sluice.protocol set max = 0"],
  ["web", "select sluice.claim_1('w', 1, '{}', 'process', '{}', 1)"],
  ["worker", "update sluice.dag_version set spec = '{}'"],
  ["worker", "insert into sluice.bundle (hash, files) values ('x', '{}')"],
  ["worker", "delete from sluice.event"],
  ["worker", "delete from sluice.dag_run"],
  ["worker", "insert into sluice.dag_run (id) values (1)"],
  ["worker", "select sluice.open_generation(30)"],
  ["worker", "select sluice.drop_partition('event', 1)"],
  ["worker", "select from sluice.run_key"],
  ["scheduler", "select sluice.claim_1('w', 1, '{}', 'process', '{}', 1)"],
  ["scheduler", "insert into sluice.task_log default values"],
  ["reader", "select from sluice.bundle"],
  ["reader", "select from sluice.xcom"],
  ["reader", "select from sluice.task_log"],
  ["reader", "select sluice.open_generation(30)"],
];

test.for(REFUSED)("%s may not: %s", async ([login, statement]) => {
  const tx = await database.pool.connect();
  try {
    await tx.query("begin");
    await tx.query(`set local role ${ROLES[login]}`);
    await expect(tx.query(statement)).rejects.toMatchObject({ code: "42501" });
  } finally {
    await tx.query("rollback");
    tx.release();
  }
});
