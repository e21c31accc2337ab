import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { held, waitsForLock, withoutLockTimeout } from "#lib/testing/races.ts";
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

test.each([
  [
    "a try",
    (one: string, two: string) =>
      countSignInTry(
        database.pool,
        [two, one].map((subject) => ({ subject, free: 5, maxSeconds: 30 })),
      ),
  ],
  ["a success", (one: string, two: string) => forgiveSignInTry(database.pool, { forgotten: [one], takenBack: [two] })],
  [
    "a success of another kind",
    (one: string, two: string) => forgiveSignInTry(database.pool, { forgotten: [two], takenBack: [one] }),
  ],
])("%s locks its counts in the order of their subjects, so that no two wait for each other", async (_, act) => {
  const { deps, pool } = database;
  await withoutLockTimeout(deps);
  const subjects = ["account:order", "address:order"] as const;
  await pool.query(
    "insert into sluice.sign_in_failure (subject, failures, next_try_at) select s, 1, sluice.clock() from unnest($1::text[]) s on conflict do nothing",
    [subjects],
  );
  const first = await held(deps, (tx) =>
    tx.query("select from sluice.sign_in_failure where subject = $1 for update", [subjects[0]]),
  );
  const acting = act(...subjects);
  await waitsForLock(deps);
  await first.tx.query("select from sluice.sign_in_failure where subject = $1 for update nowait", [subjects[1]]);
  await first.commit();
  await acting;
});
