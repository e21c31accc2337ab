import { beforeEach, describe, expect, test } from "vitest";
import { findUserByName } from "#lib/db/users.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { moveClock } from "#lib/testing/engine.ts";
import { ensureAdmin } from "./ensure-admin.ts";
import { signIn } from "./sign-in.ts";

const database = testDatabase();
const PASSWORD = "a good long password";

beforeEach(async () => {
  await moveClock(database.deps, "0");
  await database.pool.query("truncate sluice.app_user, sluice.sign_in_failure");
});

function attempt(password: string, name = "admin", address = "192.0.2.1"): Promise<string> {
  return signIn(database.pool, { name, password, address }).then((result) => result.kind);
}

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

  test("guesses at once pass the limit of ten no more than guesses in turn; later the name is free again", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    const results = await Promise.all(Array.from({ length: 15 }, (_, n) => attempt(`wrong ${n}`)));
    expect(results.filter((result) => result === "wrong")).toHaveLength(10);
    expect(await attempt(PASSWORD)).toBe("too_many");
    expect(await attempt(PASSWORD, "admin", "192.0.2.2")).toBe("signed_in");
    await moveClock(database.deps, "16 minutes");
    expect(await attempt(PASSWORD)).toBe("signed_in");
  });

  test("an address that tries many names is stopped too", async () => {
    const results = await Promise.all(Array.from({ length: 35 }, (_, n) => attempt("wrong", `name${n}`)));
    expect(results.filter((result) => result === "wrong")).toHaveLength(30);
  });

  test("who has tried too often costs no check of a password, and rows of closed windows go with the next tries", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    for (let n = 0; n < 40; n++) await attempt("wrong", `name${n}`);
    const before = process.cpuUsage();
    for (let n = 0; n < 40; n++) expect(await attempt("wrong", "admin")).toBe("too_many");
    const { user } = process.cpuUsage(before);
    // 40 checks of 19 MiB each are a second.
    expect(user / 1_000).toBeLessThan(500);
    const rows = async () => (await database.pool.query("select from sluice.sign_in_failure")).rowCount;
    expect(await rows()).toBe(42);
    await moveClock(database.deps, "20 minutes");
    for (let n = 0; n < 3; n++) await attempt("wrong", "other", "192.0.2.9");
    expect(await rows()).toBe(2);
  });

  test("a right password forgets the failures before it", async () => {
    await ensureAdmin(database.pool, PASSWORD);
    for (let n = 0; n < 12; n++) {
      await attempt("wrong");
      expect(await attempt(PASSWORD)).toBe("signed_in");
    }
  });
});
