import { mkdtemp, rm } from "node:fs/promises";
import { chmod } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { createPool } from "#lib/db/pool.ts";
import { startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { install } from "#lib/engine/install.ts";

declare module "vitest" {
  interface ProvidedContext {
    postgresUrl: string;
  }
}

/** One real Postgres for all database tests; the database `sluice` is migrated and serves as their template. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-test-"));
  // Root's temporary folder is private, and Postgres runs as another user.
  await chmod(folder, 0o711);
  const server = await startEmbeddedPostgres({
    dataDir: path.join(folder, "postgres"),
    logFile: path.join(folder, "postgres.log"),
    endsWithOwner: true,
    fsync: false,
  });
  await install(server.url);
  const pool = createPool({ url: server.url, max: 1, name: "test-setup" });
  // Several generations, as there are after a while: statements that look for partitions have some to look among.
  await pool.query("select sluice.open_generation(30), sluice.open_generation(30), sluice.open_generation(30)");
  await pool.query("select sluice.enter_generations()");
  await pool.end();
  project.provide("postgresUrl", server.url);
  return async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
}
