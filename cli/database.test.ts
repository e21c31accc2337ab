import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findDatabase } from "./database.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), "sluice-home-"));
  await mkdir(path.join(home, "postgres", "data"), { recursive: true });
  await writeFile(path.join(home, "postgres", "password"), "secret-_1\n");
});
afterEach(() => rm(home, { recursive: true, force: true }));

const pidFile = (pid: number): Promise<void> =>
  writeFile(path.join(home, "postgres", "data", "postmaster.pid"), `${pid}\n/data\n1763900000\n54321\n\n127.0.0.1\n`);

test("DATABASE_URL wins over a server that runs here", async () => {
  await pidFile(process.pid);
  expect(await findDatabase({ databaseUrl: "postgres://db/x", home })).toEqual({ ok: true, url: "postgres://db/x" });
});

test("a running embedded server is found by its own pid file", async () => {
  await pidFile(process.pid);
  const url = "postgres://sluice:secret-_1@127.0.0.1:54321/sluice";
  expect(await findDatabase({ databaseUrl: undefined, home })).toEqual({ ok: true, url });
});

test("one that has ended, also by a kill that left the pid file, is told with the remedy", async () => {
  const problem = expect.stringMatching(/no Sluice is running on .*sluice start.*DATABASE_URL/) as string;
  expect(await findDatabase({ databaseUrl: undefined, home })).toEqual({ ok: false, problem });
  // Linux hands out no pid as high as this.
  await pidFile(2 ** 30);
  expect(await findDatabase({ databaseUrl: undefined, home })).toEqual({ ok: false, problem });
});

test("a data folder without its password is told as such", async () => {
  await pidFile(process.pid);
  await rm(path.join(home, "postgres", "password"));
  expect(await findDatabase({ databaseUrl: undefined, home })).toEqual({
    ok: false,
    problem: expect.stringContaining("cannot be used (ENOENT)") as string,
  });
});
