import { beforeEach, describe, expect, test } from "vitest";
import { deleteForgottenFailures } from "#lib/db/sign-in-failures.ts";
import { findUserByName } from "#lib/db/users.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock } from "#lib/testing/engine.ts";
import { ensureAdmin } from "./ensure-admin.ts";
import { signIn } from "./sign-in.ts";

const database = testDatabase();
const PASSWORD = "a good long password";

beforeEach(async () => {
  offset = 0;
  await moveClock(database.deps, "0");
  await database.pool.query("truncate sluice.app_user, sluice.sign_in_failure");
});

async function attempt(password: string, name = "admin", address = "192.0.2.1", browserId?: string): Promise<string> {
  const result = await signIn(database.pool, { name, password, address, browserId });
  return result.kind === "wait" ? `wait ${result.seconds}` : result.kind;
}

let offset = 0;
/** The database's clock goes on by so many seconds. */
async function pass(seconds: number): Promise<void> {
  offset += seconds;
  await moveClock(database.deps, `${offset} seconds`);
}

/** One wrong try after the other, each as soon as it is possible; returns the seconds that each had to wait. */
async function guess(times: number, name = "admin", address = "192.0.2.1", browserId?: string): Promise<number[]> {
  const waits: number[] = [];
  for (let n = 0; n < times; n++) {
    let waited = 0;
    for (;;) {
      const kind = await attempt("wrong", name, address, browserId);
      if (kind === "wrong") break;
      const seconds = Number(kind.split(" ")[1]);
      waited += seconds;
      await pass(seconds);
    }
    waits.push(waited);
  }
  return waits;
}

/** What the counts were left as by so many wrong passwords, without the time to try them all. */
async function afterFailures(subject: string, failures: number, waitSeconds: number): Promise<void> {
  await database.pool.query(
    `insert into sluice.sign_in_failure (subject, failures, next_try_at)
     values ($1, $2, sluice.clock() + $3::int * interval '1 s')
     on conflict (subject) do update set failures = excluded.failures, next_try_at = excluded.next_try_at`,
    [subject, failures, waitSeconds],
  );
}

const counts = async (): Promise<Record<string, number>> => {
  const { rows } = await database.pool.query<{ subject: string; failures: number }>(
    "select subject, failures from sluice.sign_in_failure",
  );
  return Object.fromEntries(rows.map(({ subject, failures }) => [subject, failures]));
};

describe("the first admin", () => {
  test("gets a random password that is answered once and works", async () => {
    const { generatedPassword } = await ensureAdmin(database.pool, undefined);
    expect(generatedPassword).toMatch(/^[0-9a-f-]{31}$/);
    expect(await ensureAdmin(database.pool, undefined)).toEqual({});
    expect(await attempt(generatedPassword!)).toBe("signed_in");
  });

  test("is one, also when two processes start at once", async () => {
    await Promise.all([ensureAdmin(database.pool, PASSWORD), ensureAdmin(database.pool, PASSWORD)]);
    const { rowCount } = await database.pool.query("select from sluice.app_user");
    expect(rowCount).toBe(1);
  });

  test("takes over a password that was set anew, and sessions made before are over", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    const before = await findUserByName(database.pool, "admin");
    await ensureAdmin(database.pool, PASSWORD);
    expect(await findUserByName(database.pool, "admin")).toEqual(before);
    await ensureAdmin(database.pool, "another password");
    expect(await attempt(PASSWORD)).toBe("wrong");
    expect(await attempt("another password")).toBe("signed_in");
    expect((await findUserByName(database.pool, "admin"))!.sessionVersion).toBe(before!.sessionVersion + 1);
  });
});

describe("signing in", () => {
  test("a wrong password and an unknown name are told alike", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    expect(await attempt("wrong")).toBe("wrong");
    expect(await attempt(PASSWORD, "nobody")).toBe("wrong");
  });

  test("wrong passwords for an account wait longer and longer, wherever they come from, and ten seconds at most", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    const waits: number[] = [];
    for (let n = 0; n < 14; n++) waits.push(...(await guess(1, "admin", `192.0.2.${n}`)));
    expect(waits).toEqual([0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10, 10, 10]);
    expect(await attempt(PASSWORD, "admin", "198.51.100.1")).toBe("wait 10");
    await pass(10);
    expect(await attempt(PASSWORD, "admin", "198.51.100.1")).toBe("signed_in");
  });

  test("wrong passwords from an address wait longer and longer, for whatever account, and thirty seconds at most", async () => {
    const waits: number[] = [];
    for (let n = 0; n < 19; n++) waits.push(...(await guess(1, `name${n}`)));
    expect(waits).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
  });

  test("after 3,000 wrong passwords of others the right one is accepted within thirty seconds, from anywhere", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    await guess(20);
    for (const subject of Object.keys(await counts()))
      await afterFailures(subject, 3_000, subject.startsWith("account:") ? 10 : 30);
    expect(await attempt(PASSWORD)).toBe("wait 30");
    // Somebody elsewhere waits for the account alone.
    await pass(10);
    expect(await attempt(PASSWORD, "admin", "192.0.2.2")).toBe("signed_in");
    // At the attacked address itself the try of thirty seconds later is the owner's.
    await pass(20);
    expect(await attempt(PASSWORD)).toBe("signed_in");
    // And nobody there waits for the mistakes before it any more.
    expect(await attempt(PASSWORD)).toBe("signed_in");
  });

  test("whoever asks without a break from one address leaves others two thirds of the tries of an account", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    await guess(20);
    let tried = 0;
    let open = 0;
    for (let second = 0; second < 120; second++) {
      await pass(1);
      for (let n = 0; n < 3; n++) if ((await attempt("wrong")) === "wrong") tried++;
      const { rows } = await database.pool.query<{ open: boolean }>(
        "select next_try_at <= sluice.clock() as open from sluice.sign_in_failure where subject like 'account:%'",
      );
      if (rows[0]!.open) open++;
    }
    expect(tried).toBe(4);
    expect(open).toBeGreaterThanOrEqual(75);
  });

  test("the owner's own browser waits for nobody", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    await guess(20);
    expect(await attempt("wrong")).toMatch(/^wait/);
    expect(await attempt(PASSWORD, "admin", "192.0.2.1", "known")).toBe("signed_in");
    // It is counted by itself, and takes nothing back from what strangers have done.
    expect((await guess(9, "admin", "192.0.2.1", "known")).at(-1)).toBe(4);
    expect(await attempt("wrong")).toMatch(/^wait/);
  });

  test("guesses at once are as slow as guesses in turn", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    const first = await Promise.all(Array.from({ length: 40 }, (_, n) => attempt(`wrong ${n}`)));
    expect(first.filter((kind) => kind === "wrong")).toHaveLength(6);
    for (let round = 0; round < 8; round++) {
      await pass(60);
      const next = await Promise.all(Array.from({ length: 10 }, (_, n) => attempt(`wrong ${n}`)));
      expect(next.filter((kind) => kind === "wrong")).toHaveLength(1);
    }
  });

  test("who is refused is charged nothing, and costs no check of a password", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    await guess(14);
    const before = await counts();
    const cpu = process.cpuUsage();
    for (let n = 0; n < 40; n++) {
      expect(await attempt("wrong")).toMatch(/^wait/);
      // Neither a wait of the address alone makes a row of an account that has none.
      expect(await attempt("wrong", `name${n}`)).toMatch(/^wait/);
    }
    // 80 checks of 19 MiB each are two seconds.
    expect(process.cpuUsage(cpu).user / 1_000).toBeLessThan(1_000);
    expect(await counts()).toEqual(before);
  });

  test("an unknown account is counted as a known one is", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    const known = await guess(12, "admin", "192.0.2.1");
    await database.pool.query("truncate sluice.sign_in_failure");
    expect(await guess(12, "nobody", "192.0.2.1")).toEqual(known);
    expect(Object.keys(await counts()).join()).not.toContain("nobody");
  });

  test("a right password forgets the account's failures, and of the address its own try only", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    for (let n = 0; n < 3; n++) {
      await guess(3);
      expect(await attempt(PASSWORD)).toBe("signed_in");
    }
    expect(await counts()).toEqual({ "address:192.0.2.1": 9 });
  });

  test("a quarter of an hour without a try forgets what was before", async () => {
    await guess(12);
    await pass(30 + 15 * 60);
    expect(await guess(6)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("forgotten counts are deleted set by set, and no others", async () => {
    await database.pool.query(
      `insert into sluice.sign_in_failure (subject, failures, next_try_at)
       select 'address:' || n, 1, sluice.clock() - interval '16 min' from generate_series(1, 25) n`,
    );
    await attempt("wrong");
    await deleteForgottenFailures(database.pool, 10);
    expect(Object.values(await counts())).toEqual([1, 1]);
  });
});
