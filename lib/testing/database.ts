import { randomUUID } from "node:crypto";
import pg from "pg";
import { pino } from "pino";
import { afterAll, beforeAll, inject } from "vitest";
import { createNotifier } from "#lib/db/notify.ts";
import { createLogStore } from "#lib/db/task-logs.ts";
import { createPool } from "#lib/db/pool.ts";
import { keepSessionSettings } from "#lib/db/session-settings.ts";
import { admit } from "#lib/engine/admit.ts";
import { createEngineDeps, type EngineDeps, type EngineParts } from "#lib/engine/deps.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";

export type TestDatabase = { url: string; pool: pg.Pool; deps: EngineDeps };

/** A database of this test file's own, cloned from the migrated template; gone afterwards. */
export function testDatabase(): TestDatabase {
  const database = {} as TestDatabase;
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const templateUrl = inject("postgresUrl");

  beforeAll(async () => {
    await onServer(templateUrl, `create database ${name} template sluice`);
    const url = new URL(templateUrl);
    url.pathname = `/${name}`;
    const pool = createPool({ url: url.href, max: 8, name: "test" });
    // Settings of a role in a database are not cloned with it.
    await keepSessionSettings(pool);
    const deps = testDeps(pool, url.href, admit);
    await deps.queue.start();
    Object.assign(database, { url: url.href, pool, deps });
  });

  afterAll(async () => {
    await database.deps.notifier.flush();
    await database.deps.queue.stop();
    await database.pool.end();
    await onServer(templateUrl, `drop database ${name} with (force)`);
  });
  return database;
}

/** The engine on a pool; what fails in the background fails the test. The caller starts its queue. */
export function testDeps(pool: pg.Pool, sessionUrl: string, requestPass: EngineParts["requestPass"]): EngineDeps {
  const fail = (error: unknown): never => {
    throw error;
  };
  const queue = createJobQueue(pool, fail);
  return createEngineDeps({
    pool,
    sessionUrl,
    queue,
    notifier: createNotifier(pool, queue.bells, fail),
    logs: createLogStore(pool),
    log: pino({ level: "silent" }),
    newToken: randomUUID,
    requestPass,
  });
}

async function onServer(templateUrl: string, statement: string): Promise<void> {
  const url = new URL(templateUrl);
  url.pathname = "/postgres";
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
