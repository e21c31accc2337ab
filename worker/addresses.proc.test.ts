import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { proveAddresses } from "#lib/db/session-address.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#lib/embedded/start.ts";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";

const CLI = path.resolve(import.meta.dirname, "../cli/sluice.mjs");
const staging = testDatabase();
const production = testDatabase();

async function folder(): Promise<string> {
  const made = await mkdtemp(path.join(os.tmpdir(), "sluice-addresses-"));
  // Root's temporary folder is private, and Postgres runs as another user.
  await chmod(made, 0o711);
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

type Ended = { code: number; stdout: string; stderr: string };

/** How a command has failed, which it must. */
async function ended(command: string, env: NodeJS.ProcessEnv): Promise<Ended> {
  const options = { env, timeout: 60_000 };
  return promisify(execFile)(process.execPath, [CLI, command], options).then(
    () => expect.unreachable(`${command} has not failed`),
    (error: unknown) => error as Ended,
  );
}

test.for(["worker", "scheduler", "web", "migrate"])(
  "%s ends at its start when its two addresses lead to two databases, and says which and what is right",
  async (command) => {
    const env = {
      ...plainEnv(),
      DATABASE_URL: staging.url,
      DATABASE_SESSION_URL: production.url,
      SLUICE_DAGS_DIR: await folder(),
      SLUICE_SESSION_SECRET: "x".repeat(32),
      SLUICE_API_TOKEN: "x".repeat(16),
    };
    const { code, stdout, stderr } = await ended(command, env);
    const { pathname } = new URL(production.url);
    expect(stdout + stderr).toMatch(
      new RegExp(`DATABASE_SESSION_URL \\(127.0.0.1:\\d+${pathname}\\) leads to another database than DATABASE_URL `),
    );
    expect(stdout + stderr).not.toContain(new URL(production.url).password);
    expect(code).toBe(1);
  },
);

test("a scheduler whose role may not drop history ends at its start, and says which role may", async () => {
  const { pool } = staging;
  await pool.query("create role runner login password 'x'");
  onTestFinished(async () => void (await pool.query("drop owned by runner; drop role runner")));
  await pool.query("grant usage on schema sluice to runner; grant all on all tables in schema sluice to runner");
  const url = Object.assign(new URL(staging.url), { username: "runner", password: "x" });
  const own = { ...plainEnv(), DATABASE_URL: url.href, SLUICE_DAGS_DIR: await folder() };
  for (const env of [own, { ...own, DATABASE_URL: staging.url, DATABASE_SESSION_URL: url.href }])
    expect(await ended("scheduler", env)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("the role runner may not open and drop the partitions of history") as string,
    });
});

test("neither a copy of the whole server nor a standby passes for the database", async () => {
  const root = await folder();
  const servers: EmbeddedPostgres[] = [];
  onTestFinished(async () => {
    for (const server of servers) await server.stop();
  });
  const start = async (name: string): Promise<EmbeddedPostgres> => {
    const dataDir = path.join(root, name);
    const server = await startEmbeddedPostgres({ dataDir, logFile: path.join(root, `${name}.log`), fsync: false });
    servers.push(server);
    return server;
  };
  await (await start("primary")).stop();
  // With its owner, who may be another user.
  for (const name of ["copy", "standby"])
    await promisify(execFile)("cp", ["-a", path.join(root, "primary"), path.join(root, name)]);
  await writeFile(path.join(root, "standby", "data", "standby.signal"), "");
  const [primary, copy, standby] = [await start("primary"), await start("copy"), await start("standby")];
  await proveAddresses(primary.url, primary.url);
  for (const { url } of [copy, standby])
    await expect(proveAddresses(primary.url, url)).rejects.toThrow("leads to another database");
});
