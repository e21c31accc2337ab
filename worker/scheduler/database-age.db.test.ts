import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { SILENT } from "#lib/testing/silent-log.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { createAgeCheck } from "./database-age.ts";

const database = testDatabase();

test("a scheduler warns once when an age passes its bound, again after it was fine, and tells the gauges each time", async () => {
  const { pool } = database.deps;
  const warnings: string[] = [];
  let mxidAge = 700_000_000;
  const read = async (text: { text: string }): Promise<unknown> => {
    const result = await pool.query<Record<string, unknown>>(text);
    for (const row of result.rows) if ("mxidAge" in row) row["mxidAge"] = mxidAge;
    return result;
  };
  const deps = {
    pool: { query: read } as unknown as typeof pool,
    log: { ...SILENT, warn: (_: unknown, text: string) => void warnings.push(text) },
  };
  const registry = new Registry();
  const check = createAgeCheck(deps, registry);
  await check();
  await check();
  expect(warnings).toEqual([
    "autovacuum is late to freeze multixacts: the oldest is 700,000,000 old, its bound is 400,000,000",
  ]);
  expect(await registry.metrics()).toContain("sluice_database_mxid_age 700000000");
  mxidAge = 1_000;
  await check();
  expect(await registry.metrics()).toContain("sluice_database_mxid_age 1000");
  mxidAge = 700_000_000;
  await check();
  expect(warnings).toHaveLength(2);
});
