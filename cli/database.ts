import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Pool } from "pg";
import type { PrismaClient } from "#lib/db/prisma.ts";
import { processSettings, type Settings } from "#lib/env.ts";
import { trouble } from "./exit.ts";

/** The name `sluice start` gives it in its embedded server. */
const EMBEDDED_DATABASE = "sluice";

/**
 * The database a command works on: DATABASE_URL, else the embedded one of a Sluice that runs on SLUICE_HOME.
 * Without either the process ends and says what to do.
 */
export async function databaseOrExit(): Promise<string> {
  const read = processSettings();
  if (!read.ok) return trouble(...read.problems);
  const found = await findDatabase(read.settings);
  return found.ok ? found.url : trouble(found.problem);
}

export type Found = { ok: true; url: string } | { ok: false; problem: string };

/** Where the database is, by these settings. */
export async function findDatabase({ databaseUrl, home }: Pick<Settings, "databaseUrl" | "home">): Promise<Found> {
  if (databaseUrl !== undefined) return { ok: true, url: databaseUrl };
  const folder = path.join(home, "postgres");
  const remedy = "start it with `sluice start` (npm start), or set DATABASE_URL; SLUICE_HOME names another data folder";
  try {
    const port = await portOfRunning(folder);
    if (port === undefined) {
      return { ok: false, problem: `DATABASE_URL is not set and no Sluice is running on ${home}: ${remedy}` };
    }
    const password = (await readFile(path.join(folder, "password"), "utf8")).trim();
    const { SUPERUSER } = await import("#lib/embedded/initdb.ts");
    return { ok: true, url: `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${EMBEDDED_DATABASE}` };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const hint = code === "EACCES" || code === "EPERM" ? "run this as the user who started Sluice, or " : "";
    return { ok: false, problem: `The embedded database in ${folder} cannot be used (${code}): ${hint}${remedy}` };
  }
}

/** The port of the server that runs on this folder, as it says itself in its pid file. */
async function portOfRunning(folder: string): Promise<number | undefined> {
  const lines = await readFile(path.join(folder, "data", "postmaster.pid"), "utf8").then(
    (text) => text.split("\n"),
    (error: unknown) => {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
      throw error;
    },
  );
  const [pid, , , port] = lines.map(Number);
  return pid && port && isThere(pid) ? port : undefined;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there and another user's: root's server runs as the system user postgres.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

export type OpenDatabase = { pool: Pool; prisma: PrismaClient };

/**
 * Does `work` on the database and closes it. A database that cannot be reached, or that holds no Sluice, ends the
 * process with a line that says so; whatever `work` throws is the caller's.
 */
export async function withDatabase<T>(name: string, work: (database: OpenDatabase) => Promise<T>): Promise<T> {
  const url = await databaseOrExit();
  const [{ createPool }, { createPrisma }] = await Promise.all([
    import("#lib/db/pool.ts"),
    import("#lib/db/prisma.ts"),
  ]);
  const pool = createPool({ url, max: 2, name });
  try {
    await holdsSluiceOrExit(pool, url);
    const prisma = createPrisma(pool);
    try {
      return await work({ pool, prisma });
    } finally {
      await prisma.$disconnect();
    }
  } finally {
    await pool.end();
  }
}

/** Ends the process with a line that says why when the database cannot be reached or holds no Sluice. */
export async function holdsSluiceOrExit(pool: Pool, url: string): Promise<void> {
  const { isMigrated } = await import("#lib/db/schema-state.ts");
  const migrated = await isMigrated(pool).catch((error: unknown) => trouble(unreachable(url, error)));
  if (!migrated) trouble(`The database ${placeOf(url)} holds no Sluice yet: run \`sluice migrate\` first`);
}

function unreachable(url: string, error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const reason = first instanceof Error ? first.message : String(first);
  return `The database ${placeOf(url)} cannot be used: ${reason.replaceAll("\n", " ")}`;
}

/** The address without what is secret in it. */
function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}
