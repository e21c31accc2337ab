import { PgBoss, type Db as BossDb } from "pg-boss";
import type pg from "pg";
import { sha256 } from "#lib/domain/canonical.ts";
import type { Tx } from "#lib/db/pool.ts";
import { type Bells, createBells } from "./bells.ts";
import { type CallbackQueue, createCallbackQueue, installCallbackQueue } from "./callback-queue.ts";
import { guardQueueTable } from "./queue-table.ts";

/**
 * pg-boss, which workers and schedulers poll: for bells, that say where something may be to claim, and for jobs in the
 * background. What is to be run is not in it: that is one row of `live_attempt`, and nothing else.
 */
const SCHEMA = "sluice_boss";

const MAX_NAMED = 256;

export type JobQueue = {
  /** Installs or upgrades pg-boss's own tables. Part of the migration, never of a running process. */
  install(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Rung for workers that have something to claim. */
  bells: Bells;
  /** Requests that tell others of an end. */
  callbacks: CallbackQueue;
};

export function createJobQueue(pool: pg.Pool, onError: (error: unknown) => void): JobQueue {
  const names = new Map<string, string>();
  /** pg-boss's statements are few texts that come again and again: named, Postgres parses and plans them once. */
  const nameOf = (text: string): string | undefined => {
    // By its text, because several of these may share a pool.
    if (!names.has(text) && names.size < MAX_NAMED) names.set(text, `boss-${sha256(text).slice(0, 16)}`);
    return names.get(text);
  };
  const on = (db: pg.Pool | Tx): BossDb => ({
    executeSql: async (text, values = []) => {
      // Its installation sends many commands in one text, which cannot be named; in our transactions it never does.
      const name = values.length === 0 && db === pool ? undefined : nameOf(text);
      return db.query({ text, values, ...(name === undefined ? {} : { name }) });
    },
  });
  const create = (migrate: boolean): PgBoss => {
    const boss = new PgBoss({
      db: on(pool),
      schema: SCHEMA,
      migrate,
      supervise: false,
      schedule: false,
      registerInstance: false,
    });
    boss.on("error", onError);
    return boss;
  };
  const boss = create(false);
  const bells = createBells(boss, pool, on, onError);
  return {
    bells,
    callbacks: createCallbackQueue(boss, on),
    async install() {
      // Before as well: an upgrade of pg-boss runs what the table says as the owner.
      await guardQueueTable(pool);
      const installer = create(true);
      await installer.start();
      await guardQueueTable(pool);
      await installCallbackQueue(installer);
      await installer.stop({ graceful: false });
    },
    async start() {
      await boss.start();
    },
    async stop() {
      await bells.flush();
      await boss.stop({ graceful: false });
    },
  };
}
