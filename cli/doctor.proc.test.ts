import { execFile } from "node:child_process";
import path from "node:path";
import { expect, test } from "vitest";
import { keepSessionSettings, SESSION_SETTINGS } from "#lib/db/session-settings.ts";
import { plainEnv } from "#lib/env.ts";
import { testDatabase } from "#lib/testing/database.ts";

const SLUICE = path.resolve(import.meta.dirname, "sluice.mjs");
const database = testDatabase();

type Check = { id: string; broken: unknown[] };

function settingsCheck(): Promise<unknown[] | undefined> {
  const env = { ...plainEnv(), DATABASE_URL: database.url };
  return new Promise((resolve) => {
    execFile(process.execPath, [SLUICE, "doctor", "--json"], { env }, (_, stdout) => {
      const { checks } = JSON.parse(stdout) as { checks: Check[] };
      resolve(checks.find(({ id }) => id === "session-settings")?.broken);
    });
  });
}

test("the doctor names the settings that new sessions of the role lack, and gives it none", async () => {
  expect(await settingsCheck()).toEqual([]);
  const { pathname } = new URL(database.url);
  await database.pool.query(`alter role current_user in database ${pathname.slice(1)} reset all`);
  for (let asked = 0; asked < 2; asked++)
    expect(await settingsCheck()).toEqual(
      Object.entries(SESSION_SETTINGS)
        // Postgres' own default.
        .filter(([name]) => name !== "default_transaction_isolation")
        .map(([name, shouldBe]) => ({ name, is: expect.any(String) as string, shouldBe })),
    );
  await keepSessionSettings(database.pool);
});
