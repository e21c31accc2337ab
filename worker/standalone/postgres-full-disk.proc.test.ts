import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, statfs, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { allEnded } from "#lib/testing/processes.ts";
import { type Database, openDatabase } from "./database.ts";

// The Postgres of `sluice start`, on a file system of its own that is filled, and one that is stopped while it comes back.

const LOOK_AGAIN_MS = 50;
/** A server that ends may leave a question without an answer. */
const ANSWER_MS = 10_000;
const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-full-postgres-"));
const disk = path.join(folder, "disk");
await mkdir(disk);
const canMount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=160m", "tmpfs", disk]).status === 0;
let database: Database | undefined;

afterAll(async () => {
  await database?.stop(1_500);
  if (canMount) spawnSync("umount", ["-l", disk]);
  await rm(folder, { recursive: true, force: true });
});

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({
    connectionString: database!.url,
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    // Of a server that is gone it may never be told.
    client.end().catch(() => undefined);
  }
}

/** Whether it could be written, and was acknowledged. */
const written = (sql: string): Promise<boolean> =>
  query(sql).then(
    () => true,
    () => false,
  );

describe.runIf(canMount)("a Postgres whose disk is full", () => {
  test("ends, says why it cannot start, and goes on with all that it acknowledged when there is room", async () => {
    for (const one of [folder, disk]) await chmod(one, 0o711);
    const home = { postgres: path.join(disk, "postgres"), logs: path.join(folder, "logs") };
    await mkdir(home.logs);
    const said: string[] = [];
    database = await openDatabase(undefined, home, (line) => said.push(line), new AbortController().signal);
    await query("create table kept (n int)");
    let acknowledged = 0;
    for (; acknowledged < 10; acknowledged++) await query(`insert into kept values (${acknowledged})`);
    const ballast = path.join(disk, "ballast");
    const { bavail, bsize } = await statfs(disk);
    await writeFile(ballast, Buffer.alloc(bavail * bsize));
    // Each log file is another one, and there is no room for it at last.
    while (said.length === 0) {
      if (await written(`insert into kept values (${acknowledged})`)) acknowledged++;
      await written("select pg_switch_wal()");
    }
    while (!said.some((line) => line.includes("trying again in"))) await delay(LOOK_AGAIN_MS);
    expect(said.join("\n")).toMatch(/No space left on device/);
    await rm(ballast);
    while (!(await written("insert into kept values (-1)"))) await delay(LOOK_AGAIN_MS);
    expect(await query("select count(*)::int as n from kept where n >= 0")).toEqual([{ n: acknowledged }]);
    while (!said.at(-1)!.startsWith("Postgres takes connections again")) await delay(LOOK_AGAIN_MS);
  });
});

test("a stop in whichever moment of a restart ends the one that has just been started", async () => {
  const home = { postgres: path.join(folder, "postgres"), logs: path.join(folder, "logs") };
  await chmod(folder, 0o711);
  await mkdir(home.logs, { recursive: true });
  for (let round = 0; round < 4; round++) {
    database = await openDatabase(undefined, home, () => undefined, new AbortController().signal);
    const pid = async (): Promise<number> =>
      Number((await readFile(path.join(home.postgres, "data", "postmaster.pid"), "utf8")).split("\n")[0]);
    const killed = await pid();
    process.kill(killed, "SIGKILL");
    expect(await allEnded([killed], 60_000)).toBe(true);
    // It answers a little before it counts as started.
    while (!(await written("select 1")));
    const started = await pid();
    await database.stop(1_500);
    expect(await allEnded([started], 60_000)).toBe(true);
  }
});
