import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { startScheduler, startWorker } from "#lib/testing/scheduler-process.ts";

const database = testDatabase();
let dagsDir: string;

beforeAll(async () => {
  dagsDir = await mkdtemp(path.join(os.tmpdir(), "sluice-dags-"));
});
afterAll(() => rm(dagsDir, { recursive: true, force: true }));

test.for([
  ["too old", 2],
  ["too new", 0],
] as const)(
  "a worker and a scheduler that are %s for the database do not start, with a code of its own",
  async ([, takes]) => {
    await database.pool.query("update sluice.protocol set min = least(min, $1), max = $1", [takes]);
    await database.pool.query("update sluice.protocol set min = $1", [takes]);
    const options = { databaseUrl: database.url, dagsDir };
    await expect(startWorker(options)).rejects.toThrow("exit code 78");
    await expect(startScheduler(options)).rejects.toThrow("exit code 78");
  },
);
