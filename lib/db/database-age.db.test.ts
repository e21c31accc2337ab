import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { readDatabaseAge } from "./database-age.ts";

const database = testDatabase();

test("the ages of transaction ids and multixacts are read, with autovacuum's bounds", async () => {
  const age = await readDatabaseAge(database.pool);
  expect(age).toMatchObject({ xidFreezeAge: 200_000_000, mxidFreezeAge: 400_000_000 });
  expect(age.xidAge).toBeGreaterThan(0);
  expect(age.mxidAge).toBeGreaterThanOrEqual(0);
});

test("the oldest snapshot is that of the session that holds one, by its name, until it ends", async () => {
  const report = new pg.Client({ connectionString: database.url, application_name: "nightly report" });
  await report.connect();
  onTestFinished(() => report.end());
  await report.query("begin isolation level repeatable read");
  const { rows } = await report.query<{ pid: number }>("select pg_backend_pid() as pid");
  for (let n = 0; n < 20; n++) await database.pool.query("select pg_current_xact_id()");
  const { oldestSnapshot } = await readDatabaseAge(database.pool);
  expect(oldestSnapshot).toMatchObject({ kind: "session", application: "nightly report", pid: rows[0]!.pid });
  expect(oldestSnapshot!.xids).toBeGreaterThanOrEqual(20);
  expect(oldestSnapshot!.seconds).toBeGreaterThan(0);
  await report.query("commit");
  expect((await readDatabaseAge(database.pool)).oldestSnapshot?.pid).not.toBe(rows[0]!.pid);
});
