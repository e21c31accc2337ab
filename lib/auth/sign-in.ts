import type pg from "pg";
import { countSignInTry, forgetSignInTry } from "#lib/db/sign-in-failures.ts";
import { findUserByName, type UserRow } from "#lib/db/users.ts";
import { verifyPassword } from "./password.ts";

/**
 * Failed sign-ins within 15 minutes before further ones are refused. A name is limited per address only: a limit
 * for the name alone would let anybody lock its owner out.
 */
const MAX_PER_NAME_AND_ADDRESS = 10;
const MAX_PER_ADDRESS = 30;

export type SignInTry = { name: string; password: string; address: string };
export type SignInResult = { kind: "signed_in"; user: UserRow } | { kind: "wrong" } | { kind: "too_many" };

/** Checks a name and a password. Every outcome costs the same work, so its time tells nothing. */
export async function signIn(pool: pg.Pool, attempt: SignInTry): Promise<SignInResult> {
  const name = `name:${attempt.name} address:${attempt.address}`;
  const address = `address:${attempt.address}`;
  const counts = await countSignInTry(pool, [name, address]);
  const user = await findUserByName(pool, attempt.name);
  const matches = await verifyPassword(attempt.password, user?.passwordHash);
  if ((counts.get(name) ?? 0) > MAX_PER_NAME_AND_ADDRESS || (counts.get(address) ?? 0) > MAX_PER_ADDRESS)
    return { kind: "too_many" };
  if (user === undefined || !matches) return { kind: "wrong" };
  await forgetSignInTry(pool, name, address);
  return { kind: "signed_in", user };
}
