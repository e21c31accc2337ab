import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { type PlanNode, watchPlans } from "#lib/testing/plans.ts";
import { countSignInTry, deleteForgottenFailures, forgiveSignInTry } from "./sign-in-failures.ts";

const database = testDatabase();
const ROWS = 100_000;

let plans: ReturnType<typeof watchPlans>;

beforeAll(async () => {
  const { pool } = database;
  plans = watchPlans(pool);
  // Connections that were opened before are not watched.
  for (let n = 0; n < 8; n++) await pool.query("select pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
  await pool.query(
    `insert into sluice.sign_in_failure (subject, failures, next_try_at)
     select 'address:' || n, 1 + n % 40, sluice.clock() - n % 600 * interval '1 s' from generate_series(1, $1::int) n`,
    [ROWS],
  );
  await pool.query("analyze sluice.sign_in_failure");
  plans.take();
}, 120_000);

/** All rows that a plan has looked at. */
function looked(node: PlanNode): number {
  const own =
    (node["Actual Rows"] ?? 0) + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Join Filter"] ?? 0);
  return own * (node["Actual Loops"] ?? 1) + (node.Plans ?? []).reduce((sum, child) => sum + looked(child), 0);
}

async function workOf(act: () => Promise<unknown>): Promise<number> {
  await act();
  return plans.take().reduce((sum, { plan }) => sum + looked(plan), 0);
}

const subjects = ["address:7", "account:new"];
const counts = subjects.map((subject) => ({ subject, free: 5, maxSeconds: 30 }));

test.each([
  ["a try", () => countSignInTry(database.pool, counts)],
  ["a success", () => forgiveSignInTry(database.pool, { forgotten: [subjects[1]!], takenBack: [subjects[0]!] })],
  ["a look for what is forgotten, when nothing is", () => deleteForgottenFailures(database.pool)],
])("%s looks at its own rows, however many there are", async (_, act) => {
  expect(await workOf(act)).toBeLessThan(50);
});

test("what is deleted costs in proportion to itself", async () => {
  await database.pool.query(
    "update sluice.sign_in_failure set next_try_at = sluice.clock() - interval '1 h' where subject like 'address:1%'",
  );
  plans.take();
  const { rows } = await database.pool.query<{ n: number }>(
    "select count(*)::int as n from sluice.sign_in_failure where subject like 'address:1%'",
  );
  plans.take();
  expect(await workOf(() => deleteForgottenFailures(database.pool, 2_000))).toBeLessThan(8 * rows[0]!.n);
  const left = await database.pool.query<{ n: number }>("select count(*)::int as n from sluice.sign_in_failure");
  expect(left.rows[0]!.n).toBe(ROWS - rows[0]!.n);
});
