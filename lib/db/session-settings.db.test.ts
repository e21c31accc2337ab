import { expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { createPool } from "./pool.ts";
import { keepSessionSettings, SESSION_SETTINGS, WITHOUT_LIMITS } from "./session-settings.ts";

const database = testDatabase();

type Options = { role: string; search?: string };

/** A role that may connect and owns nothing, and what `work` does as it. */
async function asRole<T>({ role, search = "" }: Options, work: (pool: ReturnType<typeof createPool>) => Promise<T>) {
  await database.pool.query(`create role ${role} login password 'x'`);
  const url = new URL(database.url);
  url.username = role;
  url.password = "x";
  url.search = search;
  const pool = createPool({ url: url.href, max: 2, name: "role" });
  try {
    return await work(pool);
  } finally {
    await pool.end();
    await database.pool.query(`drop role ${role}`);
  }
}

async function settings(pool: ReturnType<typeof createPool>): Promise<Record<string, string>> {
  const { rows } = await pool.query<{ name: string; value: string }>(
    "select name, current_setting(name) as value from unnest($1::text[]) s(name)",
    [Object.keys(SESSION_SETTINGS)],
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

test("a role that owns nothing gives itself what its sessions need, from the next connection on", async () => {
  await asRole({ role: "plain_role" }, async (pool) => {
    expect(await settings(pool)).not.toEqual(SESSION_SETTINGS);
    await keepSessionSettings(pool);
    expect(await settings(pool)).toEqual(SESSION_SETTINGS);
  });
});

test("a role whose transactions are isolated otherwise is given what the engine counts on", async () => {
  await asRole({ role: "serial_role" }, async (pool) => {
    await database.pool.query("alter role serial_role set default_transaction_isolation = 'serializable'");
    await keepSessionSettings(pool);
    expect(await settings(pool)).toEqual(SESSION_SETTINGS);
  });
});

test("two processes may do so at once", async () => {
  await asRole({ role: "twice_role" }, async (pool) => {
    await Promise.all([keepSessionSettings(pool), keepSessionSettings(pool)]);
    expect(await settings(pool)).toEqual(SESSION_SETTINGS);
  });
});

test("sessions that something else gives other settings are refused by name", async () => {
  await asRole({ role: "other_role", search: "?options=-c%20jit%3Don" }, async (pool) => {
    await expect(keepSessionSettings(pool)).rejects.toThrow(/other settings .*\(jit\): a pooler must/);
  });
});

test("an address may set other times, and none that is without end", async () => {
  await asRole({ role: "times_role", search: "?statement_timeout=60000" }, async (pool) => {
    await keepSessionSettings(pool);
    expect(await settings(pool)).toEqual({ ...SESSION_SETTINGS, statement_timeout: "1min" });
  });
  await asRole({ role: "endless_role", search: "?options=-c%20statement_timeout%3D0" }, async (pool) => {
    await expect(keepSessionSettings(pool)).rejects.toThrow("(statement_timeout)");
  });
});

test("a session without limits has no setting of the role", async () => {
  await keepSessionSettings(database.pool);
  const client = await database.pool.connect();
  try {
    await client.query(WITHOUT_LIMITS);
    const { rows } = await client.query(
      "select name from pg_settings where name = any ($1) and setting is distinct from boot_val",
      [Object.keys(SESSION_SETTINGS)],
    );
    expect(rows).toEqual([]);
  } finally {
    client.release(true);
  }
});

test("without prepared statements no statement keeps its name", async () => {
  const names = async (search: string): Promise<string[]> =>
    asRole({ role: "names_role", search }, async (pool) => {
      await pool.query({ name: "one", text: "select $1::int", values: [1] });
      const { rows } = await pool.query<{ name: string }>("select name from pg_prepared_statements");
      return rows.map(({ name }) => name);
    });
  expect(await names("")).toEqual(["one"]);
  expect(await names("?prepared_statements=false")).toEqual([]);
});
