import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { rolesOf } from "#lib/db/roles/grants.ts";
import { childEnv, readSettings, type Settings } from "#lib/env.ts";
import { asRole, rolePasswords } from "./own-roles.ts";

function settings(env: Record<string, string>): Settings {
  const read = readSettings(env);
  if (!read.ok) throw new Error(read.problems.join());
  return read.settings;
}

const ROLES = rolesOf("mine");

test("a process has its own role in both addresses, and no other password", () => {
  const given = settings({
    DATABASE_URL:
      "postgres://root:root-password@pooler:6432/db?prepared_statements=false&user=root&password=root-password",
    DATABASE_SESSION_URL: "postgres://root:root-password@server/db",
    SLUICE_WORKER_DB_PASSWORD: "a%2F:@?#/secret",
    SLUICE_WEB_DB_PASSWORD: "password-of-web",
  });
  const own = asRole(given, "worker", ROLES, given.rolePasswords);
  const secret = encodeURIComponent("a%2F:@?#/secret");
  expect(own.databaseUrl).toBe(`postgres://mine_worker:${secret}@pooler:6432/db?prepared_statements=false`);
  expect(own.sessionUrl).toBe(`postgres://mine_worker:${secret}@server/db`);
  const env = JSON.stringify(childEnv(own));
  expect(env).toContain(secret);
  for (const hidden of ["root-password", "password-of-web", "DB_PASSWORD"]) expect(env).not.toContain(hidden);
});

test("without roles, or without its password, a process has the address that was given", () => {
  const given = settings({ DATABASE_URL: "postgres://root:x@server/db" });
  expect(asRole(given, "web", ROLES, {})).toEqual(given);
  expect(asRole(given, "web", undefined, { web: "password-of-web" })).toEqual(given);
});

test("an embedded Postgres has passwords made once, each in a file that nobody else reads", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-roles-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const given = settings({ SLUICE_WEB_DB_PASSWORD: "password-of-web" });
  const made = await rolePasswords(given, folder, true);
  expect(await rolePasswords(given, folder, true)).toEqual(made);
  expect(made.web).toBe("password-of-web");
  expect(new Set(Object.values(made)).size).toBe(4);
  for (const login of ["scheduler", "worker", "reader"] as const) {
    const file = path.join(folder, login);
    expect(made[login]).toMatch(/^[\w-]{43}$/);
    expect((await readFile(file, "utf8")).trim()).toBe(made[login]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  }
  expect(await rolePasswords(given, folder, false)).toEqual({ web: "password-of-web" });
});
