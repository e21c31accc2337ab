import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { sha256 } from "#lib/domain/canonical.ts";
import type { Tx } from "./pool.ts";

/**
 * Applies `prisma/migrations` the way `prisma migrate deploy` does (same table, same checksums), without
 * Prisma's engine, which has to be downloaded. The two can be used in turn, with `?schema=sluice` for Prisma.
 */

const FOLDER = fileURLToPath(new URL("../../prisma/migrations/", import.meta.url));

const LEDGER = `
  create schema if not exists sluice;
  create table if not exists sluice._prisma_migrations (
    id varchar(36) primary key not null,
    checksum varchar(64) not null,
    finished_at timestamptz,
    migration_name varchar(255) not null,
    logs text,
    rolled_back_at timestamptz,
    started_at timestamptz not null default now(),
    applied_steps_count integer not null default 0
  )`;

type Migration = { name: string; sql: string; checksum: string };

/**
 * Brings the database to this release's schema; answers the names it applied, in order. Two processes that
 * migrate at once wait for each other. Throws when a migration that was applied has been edited since.
 */
export async function migrate(pool: pg.Pool): Promise<string[]> {
  const migrations = await readMigrations();
  const client = await pool.connect();
  try {
    await client.query("set statement_timeout = 0; set lock_timeout = '60s'");
    await client.query("select pg_advisory_lock(hashtext('sluice.migrate'))");
    await client.query(LEDGER);
    const applied = await appliedChecksums(client);
    const names: string[] = [];
    for (const migration of migrations) {
      const checksum = applied.get(migration.name);
      if (checksum !== undefined && checksum !== migration.checksum) {
        throw new Error(`migration ${migration.name} was applied in another form; its file must never change`);
      }
      if (checksum === undefined) {
        await apply(client, migration);
        names.push(migration.name);
      }
    }
    return names;
  } finally {
    // Closed, not returned: the session holds the advisory lock and other limits.
    client.release(true);
  }
}

export async function readMigrations(): Promise<Migration[]> {
  const entries = await readdir(FOLDER, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.toSorted().map(async (name) => {
      const sql = await readFile(`${FOLDER}${name}/migration.sql`, "utf8");
      return { name, sql, checksum: sha256(sql) };
    }),
  );
}

async function appliedChecksums(client: Tx): Promise<Map<string, string>> {
  const { rows } = await client.query<{ migration_name: string; checksum: string }>(
    `select migration_name, checksum from sluice._prisma_migrations
      where finished_at is not null and rolled_back_at is null`,
  );
  return new Map(rows.map((row) => [row.migration_name, row.checksum]));
}

async function apply(client: Tx, migration: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query(migration.sql);
    await client.query(
      `insert into sluice._prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
       values ($1, $2, $3, clock_timestamp(), 1)`,
      [randomUUID(), migration.checksum, migration.name],
    );
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw new Error(`migration ${migration.name} failed`, { cause: error });
  }
}
