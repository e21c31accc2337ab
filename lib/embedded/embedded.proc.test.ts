import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rename, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createInterface } from "node:readline";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { allEnded } from "#lib/testing/processes.ts";
import { EmbeddedPostgresError } from "./errors.ts";
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from "./start.ts";

let root: string;
let running: EmbeddedPostgres[] = [];
let said: string[];

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "sluice-pg-"));
  await chmod(root, 0o711);
  said = [];
});

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
  await rm(root, { recursive: true, force: true });
});

const options = () => ({
  dataDir: path.join(root, "pg"),
  logFile: path.join(root, "pg.log"),
  fsync: false,
  say: (line: string) => void said.push(line),
});

async function start(): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options());
  running.push(server);
  return server;
}

/** As the supervisor does it, under clients that know the address. */
async function restart({ port }: EmbeddedPostgres): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ ...options(), restartOn: port });
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

/** What a process that was killed has left. */
async function leftByKilledOwner(more: Partial<EmbeddedPostgresOptions> = {}): Promise<{ pid: number; port: number }> {
  const owner = spawn(
    process.execPath,
    [path.join(import.meta.dirname, "testing-owner.ts"), JSON.stringify({ ...options(), ...more })],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = (await once(createInterface({ input: owner.stdout }), "line")) as [string];
  owner.kill("SIGKILL");
  await once(owner, "exit");
  return JSON.parse(line) as { pid: number; port: number };
}

test("a server left by a killed owner is stopped and its data adopted", async () => {
  const left = await leftByKilledOwner();
  expect(() => process.kill(left.pid, 0)).not.toThrow();
  const adopted = await start();
  expect(adopted.port).toBe(left.port);
  expect(adopted.pid).not.toBe(left.pid);
  expect(said).toEqual([`Stopping a Postgres (pid ${left.pid}) that was left running on ${path.join(root, "pg")}`]);
});

test("a server of what is thrown away ends with its owner, even a killed one", async () => {
  const { pid } = await leftByKilledOwner({ endsWithOwner: true });
  expect(await allEnded([pid], 60_000)).toBe(true);
});

/** A session that stays open, as those of our processes do; `use` has it do something. Its end is no error. */
async function openSession(server: EmbeddedPostgres, use = "select 1"): Promise<void> {
  const client = new pg.Client({ connectionString: server.url });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("create temporary table if not exists held (n int)");
  client.query(use).catch(() => undefined);
}

describe("a server that others meddle with", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("ends by %s in good order, whoever has a session", async (signal) => {
    const server = await start();
    await openSession(server);
    process.kill(server.pid, signal);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    const again = await restart(server);
    expect(again.port).toBe(server.port);
  });

  test("says what it was told when it would have waited for its sessions", async () => {
    const server = await start();
    await openSession(server);
    process.kill(server.pid, "SIGTERM");
    await server.exited;
    expect(said).toEqual(["Postgres was told to stop by somebody else; ending its sessions"]);
  });

  test("says nothing when we stop it", async () => {
    const server = await start();
    await openSession(server);
    await server.stop();
    expect(said).toEqual([]);
  });

  test.each([
    ["no file", undefined, /has lost its folder: postmaster.pid is not in/],
    ["the file of another server", `${process.pid}\n`, /has lost its folder to another server \(pid \d+\)/],
  ])("ends when it finds %s in its folder", async (_, text, told) => {
    const server = await start();
    const file = path.join(root, "pg", "data", "postmaster.pid");
    await (text === undefined ? rm(file) : writeFile(file, text));
    await server.exited;
    expect(said.join()).toMatch(told);
    expect(await query(await restart(server), "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test("is not replaced by an empty one when its data is gone", async () => {
    const server = await start();
    await rm(path.join(root, "pg"), { recursive: true });
    await server.exited;
    await expect(restart(server)).rejects.toThrow(/data of the running database is gone from .*pg.data: bring it back/);
    expect(await readdir(root)).not.toContain("pg");
  });

  test("is not replaced by an empty one when a part of its data is gone", async () => {
    const server = await start();
    await server.stop();
    const data = path.join(root, "pg", "data");
    await rename(path.join(data, "PG_VERSION"), path.join(root, "PG_VERSION"));
    await expect(start()).rejects.toThrow(/holds files and no PG_VERSION.*: restore it, or remove the folder/);
    await rename(path.join(root, "PG_VERSION"), path.join(data, "PG_VERSION"));
    expect(await query(await start(), "select 1 as one")).toEqual([{ one: 1 }]);
  });

  test.runIf(process.platform === "linux")(
    "is not kept from starting by a session that computes for ever",
    async () => {
      const server = await start();
      await openSession(server, "do $$ begin loop null; end loop; end $$");
      await computes(server);
      process.kill(server.pid, "SIGKILL");
      await server.exited;
      expect(await query(await restart(server), "select 1 as one")).toEqual([{ one: 1 }]);
    },
  );
});

/** Resolves when the statement of the other session is under way. */
async function computes(server: EmbeddedPostgres): Promise<void> {
  const sql = "select count(*)::int as n from pg_stat_activity where state = 'active' and query like 'do %'";
  while ((await query(server, sql))[0]?.n !== 1);
}

test("a server that recovers for longer than one may be silent is waited for", async () => {
  const first = await start();
  await query(first, "create table kept as select 7 as n");
  await first.stop();
  await writeFile(path.join(root, "pg", "data", "recovery.signal"), "");
  const mayEnd = path.join(root, "may-end");
  // It asks for its next log as one from an archive, and is given none when it has waited.
  const restore_command = `until [ -e ${mayEnd} ]; do sleep 0.1; done; false`;
  const SILENCE_MS = 8_000;
  const starting = startEmbeddedPostgres({ ...options(), silenceMs: SILENCE_MS, settings: { restore_command } });
  starting.catch(() => undefined);
  const begun = performance.now();
  while (performance.now() - begun < SILENCE_MS || (await refusals()) < 2) await delay(50);
  const refused = await refusals();
  while ((await refusals()) < refused + 2) await Promise.race([starting, delay(50)]);
  await writeFile(mayEnd, "");
  const server = await starting;
  running.push(server);
  expect(await query(server, "select n from kept")).toEqual([{ n: 7 }]);
});

/** How often the server has said that it is starting. */
async function refusals(): Promise<number> {
  return (await readFile(path.join(root, "pg.log"), "utf8")).split("the database system is starting up").length - 1;
}

test("a start that is given up ends what it has begun", async () => {
  const giveUp = new AbortController();
  const starting = startEmbeddedPostgres({ ...options(), signal: giveUp.signal });
  while ((await readdir(root)).length === 0) await new Promise((resolve) => setImmediate(resolve));
  giveUp.abort();
  await expect(starting).rejects.toThrow("aborted");
  expect(await readdir(path.join(root, "pg", "data"))).not.toContain("postmaster.pid");
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
