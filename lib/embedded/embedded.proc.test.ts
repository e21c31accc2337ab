import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EmbeddedPostgresError } from "./errors.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./start.ts";

let root: string;
let running: EmbeddedPostgres[] = [];

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "sluice-pg-"));
  await chmod(root, 0o711);
});

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
  await rm(root, { recursive: true, force: true });
});

const options = () => ({ dataDir: path.join(root, "pg"), logFile: path.join(root, "pg.log"), fsync: false });

async function start(): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options());
  running.push(server);
  return server;
}

async function query(server: EmbeddedPostgres, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test("the first start makes a database on 127.0.0.1 only, with an owner-readable password", async () => {
  const server = await start();
  expect(server.port).not.toBe(5432);
  const [row] = await query(
    server,
    "select current_database() as db, current_setting('listen_addresses') as host, current_setting('server_encoding') as enc",
  );
  expect(row).toEqual({ db: "sluice", host: "127.0.0.1", enc: "UTF8" });
  expect((await stat(path.join(root, "pg", "password"))).mode & 0o777).toBe(0o600);
  const wrong = new URL(server.url);
  wrong.password = "wrong";
  await expect(new pg.Client({ connectionString: wrong.href }).connect()).rejects.toThrow(/password/);
});

test("a second start finds the data and keeps the port", async () => {
  const first = await start();
  await query(first, "create table kept as select 7 as n");
  await first.stop();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  const second = await start();
  expect(second.port).toBe(first.port);
  expect(await query(second, "select n from kept")).toEqual([{ n: 7 }]);
});

test("a pid file of a dead server, or of a number that another program has now, is no obstacle", async () => {
  const first = await start();
  const pidFile = path.join(root, "pg", "data", "postmaster.pid");
  const kept = await readFile(pidFile, "utf8");
  await first.stop();
  await writeFile(pidFile, kept.replace(/^\d+/, String(process.pid)));
  const second = await start();
  expect(await query(second, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a server whose postmaster was killed starts again", async () => {
  const first = await start();
  await query(first, "create table kept as select 7 as n");
  process.kill(first.pid, "SIGKILL");
  await first.exited;
  expect(await query(await start(), "select n from kept")).toEqual([{ n: 7 }]);
});

test("a server left by a killed owner is stopped and its data adopted", async () => {
  const owner = spawn(
    process.execPath,
    [path.join(import.meta.dirname, "testing-owner.ts"), JSON.stringify(options())],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [line] = (await once(createInterface({ input: owner.stdout }), "line")) as [string];
  const left = JSON.parse(line) as { pid: number; port: number };
  owner.kill("SIGKILL");
  await once(owner, "exit");
  expect(() => process.kill(left.pid, 0)).not.toThrow();
  const adopted = await start();
  expect(adopted.port).toBe(left.port);
  expect(adopted.pid).not.toBe(left.pid);
});

test("a folder that cannot be written is one clear error", async () => {
  await writeFile(path.join(root, "file"), "");
  const failed = startEmbeddedPostgres({ ...options(), dataDir: path.join(root, "file", "pg") });
  await expect(failed).rejects.toThrow(EmbeddedPostgresError);
  await expect(failed).rejects.toThrow(/cannot be written \(ENOTDIR\)/);
});

test.runIf(process.getuid?.() === 0)("root is told which folder keeps the postgres user out", async () => {
  await chmod(root, 0o700);
  await expect(startEmbeddedPostgres(options())).rejects.toThrow(new RegExp(`may not enter ${root}`));
});
