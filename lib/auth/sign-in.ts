import type pg from "pg";
import { countSignInTry, forgetSignInTry } from "#lib/db/sign-in-failures.ts";
import { findUserByName, type UserRow } from "#lib/db/users.ts";
import { createGate } from "./gate.ts";
import { verifyPassword } from "./password.ts";

/**
 * Failed sign-ins within 15 minutes before further ones are refused. A name is limited per address only: a limit
 * for the name alone would let anybody lock its owner out.
 */
const MAX_PER_NAME_AND_ADDRESS = 10;
const MAX_PER_ADDRESS = 30;

export type SignInTry = { name: string; password: string; address: string };
export type SignInResult = { kind: "signed_in"; user: UserRow } | { kind: "wrong" } | { kind: "too_many" };

/** So many passwords are checked at once: each takes 19 MiB and one of the four threads that everything else needs too. */
const AT_ONCE = 2;
/** Who finds so many before is refused: the rest would wait for seconds. */
const MAX_WAITING = 50;

const checks = createGate(AT_ONCE, MAX_WAITING);

/**
 * Checks a name and a password. A known name and an unknown one cost the same work, so the time tells nothing of that; who has tried
 * too often costs none.
 */
export async function signIn(pool: pg.Pool, attempt: SignInTry): Promise<SignInResult> {
  const name = `name:${attempt.name} address:${attempt.address}`;
  const address = `address:${attempt.address}`;
  const counts = await countSignInTry(pool, [name, address]);
  if ((counts.get(name) ?? 0) > MAX_PER_NAME_AND_ADDRESS || (counts.get(address) ?? 0) > MAX_PER_ADDRESS)
    return { kind: "too_many" };
  const user = await findUserByName(pool, attempt.name);
  const checked = checks.enter(() => verifyPassword(attempt.password, user?.passwordHash));
  if (checked === undefined) return { kind: "too_many" };
  if (!(await checked) || user === undefined) return { kind: "wrong" };
  await forgetSignInTry(pool, name, address);
  return { kind: "signed_in", user };
}
