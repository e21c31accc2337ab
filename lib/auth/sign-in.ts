import { createHash } from "node:crypto";
import type pg from "pg";
import { countSignInTry, type FailureCount, forgiveSignInTry } from "#lib/db/sign-in-failures.ts";
import { findUserByName, type UserRow } from "#lib/db/users.ts";
import { createGate, type Gate } from "./gate.ts";
import { verifyPassword } from "./password.ts";

/**
 * Wrong passwords cost time and lock nobody out: after some that are free each has the next try wait 1, 2, 4 seconds and so on, up to
 * a limit. A try that comes too early is refused, changes nothing, and costs nothing. An address waits longer than an account, so that
 * one address alone takes a third of the tries of an account at most: the others are left for whoever else wants to sign in.
 */
const OF_ACCOUNT = { free: 5, maxSeconds: 10 };
const OF_ADDRESS = { free: 10, maxSeconds: 30 };
/** Of a browser in which the account's owner has signed in before: it waits for nobody else's mistakes. */
const OF_BROWSER = { free: 5, maxSeconds: 30 };

/** `address` is the client's network, `browserId` that of a known browser of this very account. */
export type SignInTry = { name: string; password: string; address: string; browserId: string | undefined };
export type SignInResult =
  | { kind: "signed_in"; user: UserRow }
  | { kind: "wrong" }
  /** No password was checked; in so many seconds one may be. */
  | { kind: "wait"; seconds: number };

/** So many passwords are checked at once: each takes 19 MiB and one of the four threads that everything else needs too. */
const AT_ONCE = 2;
/** Who finds so many before is refused: the rest would wait for seconds. */
const MAX_WAITING = 50;

const ofUnknown = createGate(AT_ONCE, MAX_WAITING);
/** Apart, so that a crowd of strangers is not before an owner. */
const ofKnown = createGate(1, MAX_WAITING);

/**
 * Checks a name and a password. A known name and an unknown one cost the same work and are counted alike, so neither the time nor the
 * text tells which it is.
 */
export async function signIn(pool: pg.Pool, attempt: SignInTry): Promise<SignInResult> {
  const gate = attempt.browserId === undefined ? ofUnknown : ofKnown;
  // Before anything is counted: who is refused for others' sake pays nothing, and makes no row.
  if (gate.isFull()) return { kind: "wait", seconds: 1 };
  const counts = countsOf(attempt);
  const seconds = await countSignInTry(pool, Object.values(counts));
  if (seconds !== undefined) return { kind: "wait", seconds };
  return checkPassword(pool, attempt, counts, gate);
}

type Counts = { browser: FailureCount } | { account: FailureCount; address: FailureCount };

function countsOf({ name, address, browserId }: SignInTry): Counts {
  if (browserId !== undefined) return { browser: { subject: `browser:${browserId}`, ...OF_BROWSER } };
  // People type passwords where names belong: what is kept does not show them.
  const account = createHash("sha256").update(name).digest("base64url");
  return {
    account: { subject: `account:${account}`, ...OF_ACCOUNT },
    address: { subject: `address:${address}`, ...OF_ADDRESS },
  };
}

async function checkPassword(pool: pg.Pool, attempt: SignInTry, counts: Counts, gate: Gate): Promise<SignInResult> {
  const user = await findUserByName(pool, attempt.name);
  const checked = gate.enter(() => verifyPassword(attempt.password, user?.passwordHash));
  if (checked === undefined) return { kind: "wait", seconds: 1 };
  if (!(await checked) || user === undefined) return { kind: "wrong" };
  const forgotten = "browser" in counts ? counts.browser : counts.account;
  // Not all of the address: an account of one's own would buy free guesses at others.
  const takenBack = "address" in counts ? [counts.address.subject] : [];
  await forgiveSignInTry(pool, { forgotten: [forgotten.subject], takenBack });
  return { kind: "signed_in", user };
}
