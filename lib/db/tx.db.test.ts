import { expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { inTx } from "./tx.ts";

const database = testDatabase();

test("a transaction in which a statement failed unnoticed does not pass for committed", async () => {
  await database.pool.query("create table kept (n int)");
  const work = inTx(database.pool, async (tx) => {
    await tx.query("insert into kept values (1)");
    await tx.query("select 1 / 0").catch(() => undefined);
  });
  await expect(work).rejects.toThrow("nothing of it was kept");
  expect((await database.pool.query("select from kept")).rowCount).toBe(0);
});

test("statements sent together: the first that failed is the error, and the connection is as good as new", async () => {
  const both = inTx(database.pool, (tx) => Promise.all([tx.query("select 1 / 0"), tx.query("select 2 as n")]));
  await expect(both).rejects.toThrow("division by zero");
  const again = inTx(database.pool, async (tx) => (await tx.query<{ n: number }>("select 3 as n")).rows[0]!.n);
  expect(await again).toBe(3);
});
