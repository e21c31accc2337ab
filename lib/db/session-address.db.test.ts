import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { describe, expect, onTestFinished, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { listen } from "./listen.ts";
import {
  type Addresses,
  proveAddresses,
  proveSession,
  proveSessionAddress,
  SessionAddressError,
} from "./session-address.ts";

const staging = testDatabase();
const production = testDatabase();

/** What the pool of `of` answers, where `swallow` does not match the statement. */
const poolOf = (of: () => pg.Pool, swallow = /^(?!)/): Addresses["pool"] => ({
  options: staging.pool.options,
  query: (text, values) => (swallow.test(text) ? staging.pool.query("select", []) : of().query({ text, values })),
});

async function session(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

describe("the address for sessions", () => {
  test("of the pool's own database is proved, and leaves nothing behind on the connection", async () => {
    await proveSessionAddress(staging.deps);
    await proveAddresses(staging.url, staging.url);
    const client = await session(staging.url);
    await proveSession(client, staging.deps);
    expect((await client.query("select pg_listening_channels()")).rowCount).toBe(0);
    expect(client.listenerCount("notification")).toBe(0);
  });

  test("of another database on the same server is refused, with both places and what is right", async () => {
    const url = new URL(production.url);
    url.password = "hunter2";
    const client = await session(production.url);
    const addresses = { pool: staging.pool, sessionUrl: url.href };
    const told = await proveSession(client, addresses).then(String, (error: Error) => error);
    const [here, there] = [staging, production].map((of) => new URL(of.url).host + new URL(of.url).pathname);
    expect(told).toEqual(
      new SessionAddressError(
        `DATABASE_SESSION_URL (${there}) leads to another database than DATABASE_URL (${here}): what happens in one is not ` +
          "seen in the other. DATABASE_SESSION_URL must lead to the database of DATABASE_URL itself, on the same server, " +
          "and not to a standby, a copy or a pooler in transaction mode",
      ),
    );
  });

  test("that leads to the right database, where nothing is heard, is refused as what it is", async () => {
    const client = await session(staging.url);
    const deaf = { pool: poolOf(() => staging.pool, /pg_notify/), sessionUrl: staging.url };
    await expect(proveSession(client, deaf, 100)).rejects.toThrow(
      /^DATABASE_URL \(.*\), which is DATABASE_SESSION_URL, too, leads to the right database, but keeps no session/,
    );
    expect((await client.query("select from pg_locks where locktype = 'advisory'")).rowCount).toBe(0);
  });
});

describe("a listening connection", () => {
  /** Listens on staging, with a pool that leads to `at.pool`. */
  function listening(at: { pool: pg.Pool }, proveMs?: number) {
    const heard: string[] = [];
    const errors: string[] = [];
    let connects = 0;
    const listener = listen({
      addresses: { pool: poolOf(() => at.pool), sessionUrl: staging.url },
      hears: { sluice_runs: (value) => void heard.push(value) },
      onReconnect: () => void connects++,
      onError: (error) => void errors.push(String(error)),
      ...(proveMs === undefined ? {} : { proveMs }),
    });
    onTestFinished(() => listener.stop());
    return { heard, errors, connects: () => connects };
  }

  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await delay(10);
  }

  test("is proved again after a reconnect, and until that succeeds is as one that is not there", async () => {
    const at = { pool: staging.pool };
    const { heard, errors, connects } = listening(at);
    await until(() => connects() === 1);
    at.pool = production.pool;
    await staging.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluice-listen'",
    );
    await until(() => errors.some((error) => error.includes("leads to another database")));
    expect(connects()).toBe(1);
    at.pool = staging.pool;
    await until(() => connects() === 2);
    await staging.pool.query("select pg_notify('sluice_runs', 'again')");
    await until(() => heard.includes("again"));
  });

  test("that answers is proved again now and then: after a failover it may still be one to the old server", async () => {
    const at = { pool: staging.pool };
    const { errors, connects } = listening(at, 50);
    await until(() => connects() === 1);
    await delay(300);
    expect(errors).toEqual([]);
    at.pool = production.pool;
    await until(() => errors.some((error) => error.includes("leads to another database")));
  });

  test("is kept while the pool has no answer that could prove anything", async () => {
    const away = { query: () => Promise.reject(new Error("timeout exceeded when trying to connect")) };
    let asked = 0;
    const at = { pool: staging.pool };
    const { errors, connects } = listening(at, 50);
    await until(() => connects() === 1);
    at.pool = {
      query: () => {
        asked++;
        return away.query();
      },
    } as unknown as pg.Pool;
    await until(() => asked >= 3);
    expect(errors).toEqual([]);
  });
});
