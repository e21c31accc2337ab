import { execFile } from "node:child_process";
import path from "node:path";
import { beforeEach, expect, test } from "vitest";
import { sayPresent } from "#lib/db/schedulers.ts";
import { quarantine } from "#lib/engine/quarantine.ts";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";

const database = testDatabase();
const SLUICE = path.resolve(import.meta.dirname, "sluice.mjs");
const IDENTITY = { id: "s", host: "there", pid: 7, version: "0" };
const DUTY = { name: "sweep", ok: true, ageMs: 100, maxAgeMs: 10_000, error: null };

beforeEach(async () => {
  await database.pool.query("truncate sluice.quarantine, sluice.scheduler");
});

type Ended = { code: number; stdout: string; stderr: string };

function sluice(...args: string[]): Promise<Ended> {
  const env = { ...plainEnv(), DATABASE_URL: database.url };
  return new Promise((resolve) => {
    execFile(process.execPath, [SLUICE, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const isHeld = async (): Promise<boolean> => {
  const { rows } = await database.pool.query<{ held: boolean }>(
    "select retry_at > sluice.clock() as held from sluice.quarantine",
  );
  return rows[0]!.held;
};

test("what is in quarantine is listed with its reason, and tried again when told so", async () => {
  expect((await sluice("quarantine", "list")).stdout).toBe("nothing is in quarantine\n");
  await quarantine(database.deps, "settle", "12", new Error("poisoned"));
  expect((await sluice("quarantine", "list")).stdout).toMatch(/settle +run 12 .* 1 .*poisoned/);
  expect(JSON.parse((await sluice("quarantine", "list", "--json")).stdout)).toMatchObject({
    quarantine: [{ duty: "settle", key: "12", error: "poisoned", failures: 1 }],
  });
  expect(await sluice("quarantine", "retry", "settle", "13")).toMatchObject({ code: 2, stdout: "" });
  expect((await sluice("quarantine", "retry", "cook")).stderr).toMatch(/no duty "cook".* there are fire, .*sweep/);
  expect(await isHeld()).toBe(true);
  expect(JSON.parse((await sluice("quarantine", "retry", "settle", "12", "--json")).stdout)).toEqual({ retried: 1 });
  expect(await isHeld()).toBe(false);
});

test("the doctor says that no scheduler lives, which duty of which is late, and what is in quarantine", async () => {
  expect((await sluice("doctor")).stdout).toMatch(/✗ scheduler-alive .*\n.*none was seen within a day/);
  await sayPresent(database.pool, IDENTITY, [DUTY]);
  expect(await sluice("doctor")).toMatchObject({ code: 0 });
  await sayPresent(database.pool, IDENTITY, [{ ...DUTY, ok: false, ageMs: 90_000, error: "no such column" }]);
  await quarantine(database.deps, "fire", "3", new Error("poisoned"));
  const sick = await sluice("doctor");
  expect(sick.code).toBe(1);
  expect(sick.stdout).toMatch(/✗ duties-in-time .*\n.*"there:7","duty":"sweep".*"no such column"/);
  expect(sick.stdout).toMatch(/✗ quarantine .*\n.*"duty":"fire","key":"3"/);
  await database.pool.query("update sluice.scheduler set seen_at = seen_at - interval '2 min'");
  expect((await sluice("doctor")).stdout).toMatch(/✗ scheduler-alive .*\n.*the last one was seen 2m/);
});
