import type pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { createPool } from "#lib/db/pool.ts";
import { keepSessionSettings, lackingSettings, SESSION_SETTINGS } from "#lib/db/session-settings.ts";
import { requireHistoryRights } from "#lib/db/history-rights.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { SILENT } from "#lib/testing/silent-log.ts";
import { createSettingsCheck } from "./check-session-settings.ts";

const database = testDatabase();

/** A role that may connect and owns nothing, with its pool. */
async function asRole(role: string, search = ""): Promise<pg.Pool> {
  await database.pool.query(`create role ${role} login password 'x'`);
  const url = Object.assign(new URL(database.url), { username: role, password: "x", search });
  const pool = createPool({ url: url.href, max: 3, name: role });
  onTestFinished(async () => {
    await pool.end();
    await database.pool.query(`drop owned by ${role}`);
    await database.pool.query(`drop role ${role}`);
  });
  return pool;
}

async function reset(role: string): Promise<void> {
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`alter role ${role} in database ${name} reset all`);
}

/** So many connections, none of them in use. */
async function opened(pool: pg.Pool, count: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: count }, () => pool.connect()));
  for (const client of clients) client.release();
}

function checking(pool: pg.Pool): { check: () => Promise<void>; errors: string[] } {
  const errors: string[] = [];
  const log = { ...SILENT, error: (_: unknown, text: string) => void errors.push(text) };
  return { check: createSettingsCheck({ pool, log }), errors };
}

/** What a role lacks that has no settings of its own: the others are as Postgres has them. */
const ALL = Object.keys(SESSION_SETTINGS)
  .filter((name) => name !== "default_transaction_isolation")
  .toSorted()
  .join(", ");

test("a role that has lost its settings is given them again, its sessions are closed, and that is said once", async () => {
  const pool = await asRole("loser");
  await keepSessionSettings(pool);
  const { check, errors } = checking(pool);
  await opened(pool, 3);
  await check();
  expect(errors).toEqual([]);
  expect(pool.totalCount).toBe(3);
  for (const times of [1, 2]) {
    await reset("loser");
    const kept = await pool.connect();
    // A session that is in use has its settings still; two more begin without.
    await database.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'loser' and pid <> $1",
      [(await kept.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid],
    );
    while (pool.totalCount > 1) await new Promise(setImmediate);
    await opened(pool, 2);
    kept.release();
    await check();
    expect(errors).toHaveLength(times);
    expect(errors.at(-1)).toBe(
      `sessions of this role have lost settings that Sluice needs (${ALL}); the role was given them again, and these sessions are closed`,
    );
    const clients = await Promise.all([1, 2, 3].map(() => pool.connect()));
    for (const client of clients) expect(await lackingSettings(client)).toEqual([]);
    for (const client of clients) client.release();
    await check();
    expect(errors).toHaveLength(times);
  }
});

test("what cannot be given is said once, with the reason", async () => {
  const pool = await asRole("reader", "?options=-c%20default_transaction_read_only%3Don");
  const { check, errors } = checking(pool);
  await check();
  await check();
  expect(errors).toEqual([
    `sessions of this role have lost settings that Sluice needs (${ALL}), and they cannot be given to it: ` +
      "cannot execute ALTER ROLE in a read-only transaction",
  ]);
});

test("what something else sets again and again is said once", async () => {
  const pool = await asRole("overruled", "?options=-c%20jit%3Don");
  const { check, errors } = checking(pool);
  await check();
  expect(errors.splice(0)).toHaveLength(1);
  await check();
  expect(errors.splice(0)).toEqual([expect.stringContaining("(jit)")]);
  await check();
  await check();
  expect(errors).toEqual([]);
});

test("a role that may not drop history is told so, and one that is a member of the owner is not", async () => {
  const pool = await asRole("stranger");
  await database.pool.query("grant usage on schema sluice to stranger");
  await expect(requireHistoryRights(pool)).rejects.toThrow(
    /the role stranger may not open and drop the partitions of history, .* or as a member of sluice_owner/,
  );
  await requireHistoryRights(database.pool);
  await database.pool.query(`grant sluice_owner to stranger`);
  await requireHistoryRights(pool);
});
