import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { listQuarantine, retryQuarantined } from "#lib/db/quarantine.ts";
import { sayPresent } from "#lib/db/schedulers.ts";
import { inTx } from "#lib/db/tx.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock } from "#lib/testing/engine.ts";
import { isolating, isolatingEach, quarantine } from "./quarantine.ts";

const database = testDatabase();
const IDS = [1, 2, 3, 4, 5, 6, 7, 8];

beforeEach(async () => {
  await database.pool.query(`
    create table if not exists item (id int primary key, done int not null default 0, bad boolean not null default false);
    truncate item, sluice.quarantine;
    create or replace function poison() returns trigger language plpgsql as $$
    begin
      if new.bad and old.bad then raise exception 'poisoned'; end if;
      return new;
    end $$;
    create or replace trigger poison before update on item for each row execute function poison()`);
  await database.pool.query("insert into item (id) select unnest($1::int[])", [IDS]);
});

async function poison(ids: readonly number[]): Promise<void> {
  await database.pool.query("alter table item disable trigger poison");
  await database.pool.query("update item set bad = id = any ($1), done = 0", [ids]);
  await database.pool.query("alter table item enable trigger poison");
}

/** As the sweep and firing do: what somebody else has locked is passed over. */
const workOnSet = (ids: readonly number[]): Promise<string[]> =>
  inTx(database.pool, async (tx) => {
    const { rows } = await tx.query<{ id: string }>(
      `update item set done = done + 1
        where id in (select id from item where id = any ($1) order by id for update skip locked) returning id::text`,
      [ids],
    );
    return rows.map(({ id }) => id);
  });

const workOnOne = async (id: number): Promise<void> =>
  void (await database.pool.query("update item set done = done + 1 where id = $1", [id]));

const sets = (ids: readonly number[]): Promise<void> => isolating(database.deps, "sweep", ids, String, workOnSet);
const ones = (ids: readonly number[]): Promise<void> => isolatingEach(database.deps, "settle", ids, String, workOnOne);

const keys = async (): Promise<string[]> => (await listQuarantine(database.pool)).map(({ key }) => key).toSorted();

async function done(): Promise<number[]> {
  const { rows } = await database.pool.query<{ id: number }>("select id from item where done = 1 order by id");
  return rows.map(({ id }) => id);
}

describe.each([
  ["a set", sets],
  ["one by one", ones],
])("%s", (_, go) => {
  test("whatever rows are bad, exactly they are left out, and each good one is done once", async () => {
    await fc.assert(
      // What fails for all of them alike is no fault of a row.
      fc.asyncProperty(fc.subarray(IDS, { maxLength: IDS.length - 1 }), async (bad) => {
        await database.pool.query("truncate sluice.quarantine");
        await poison(bad);
        await go(IDS);
        expect(await keys()).toEqual(bad.map(String));
        expect(await done()).toEqual(IDS.filter((id) => !bad.includes(id)));
      }),
      { numRuns: 25 },
    );
  });

  test("a row that works again at its time is forgotten; one that does not stays, with its count", async () => {
    await poison([2, 7]);
    await go(IDS);
    await poison([7]);
    await retryQuarantined(database.pool);
    await go(IDS);
    expect(await listQuarantine(database.pool)).toMatchObject([{ key: "7", failures: 2 }]);
  });
});

test("a row that somebody else has locked is not taken for one that works again", async () => {
  await quarantine(database.deps, "sweep", "3", new Error("before"));
  await retryQuarantined(database.pool);
  const other = await database.pool.connect();
  try {
    await other.query("begin; select from item where id = 3 for update");
    await sets(IDS);
  } finally {
    await other.query("rollback");
    other.release();
  }
  expect(await keys()).toEqual(["3"]);
  await sets(IDS);
  expect(await keys()).toEqual([]);
});

test("a row that others fight for keeps no other from being done, is not blamed, and is told as the duty's failure", async () => {
  const lost = async (id: number): Promise<void> => {
    await database.pool.query(
      id === 2 ? "do $$ begin raise sqlstate '55P03'; end $$" : `update item set done = done + 1 where id = ${id}`,
    );
  };
  const fails = isolatingEach(database.deps, "settle", IDS, String, lost);
  await expect(fails).rejects.toMatchObject({ code: "55P03" });
  expect(await done()).toEqual(IDS.filter((id) => id !== 2));
  expect(await keys()).toEqual([]);
});

test("what nobody has tried for an hour after its time is gone; what waits for its time is kept", async () => {
  await quarantine(database.deps, "settle", "gone", new Error("its run was cancelled"));
  await moveClock(database.deps, "62 min");
  await quarantine(database.deps, "settle", "waits", new Error("not yet"));
  const identity = { id: "s", host: "h", pid: 1, version: "0" };
  await sayPresent(database.pool, identity, []);
  expect(await keys()).toEqual(["waits"]);
  expect((await sayPresent(database.pool, identity, [])).quarantined).toEqual({ settle: 1 });
});
