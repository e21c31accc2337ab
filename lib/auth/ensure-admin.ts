import { randomBytes } from "node:crypto";
import type pg from "pg";
import { createFirstUser, findUserByName, hasNoUser, replacePasswordIfCurrent } from "#lib/db/users.ts";
import { hashPassword, verifyPassword } from "./password.ts";

const ADMIN = "admin";

/**
 * Makes the first user, and keeps a configured password in force: one that no longer matches replaces the
 * stored one and ends the sessions made under it. A generated password is answered once and stored nowhere.
 */
export async function ensureAdmin(
  pool: pg.Pool,
  password: string | undefined,
): Promise<{ generatedPassword?: string }> {
  if (await hasNoUser(pool)) {
    const generatedPassword = password === undefined ? makePassword() : undefined;
    const passwordHash = await hashPassword(password ?? generatedPassword!);
    const created = await createFirstUser(pool, { name: ADMIN, passwordHash, role: "admin" });
    if (created) return generatedPassword === undefined ? {} : { generatedPassword };
  }
  if (password === undefined) return {};
  const admin = await findUserByName(pool, ADMIN);
  if (admin !== undefined && !(await verifyPassword(password, admin.passwordHash))) {
    await replacePasswordIfCurrent(pool, admin, await hashPassword(password));
  }
  return {};
}

/** 108 random bits in four groups, easy to read off a terminal. */
function makePassword(): string {
  return randomBytes(14).toString("hex").match(/.{7}/g)!.join("-");
}
