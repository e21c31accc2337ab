import { getToken } from "next-auth/jwt";
import { cookies } from "next/headers";
import { redirect } from "next/navigation";
import type pg from "pg";
import { cache } from "react";
import type { WebDeps } from "#lib/boot.ts";
import { webDeps } from "#lib/boot.ts";
import { findUserById, type Role, type UserRow } from "#lib/db/users.ts";
import type { Actor } from "./authenticate.ts";
import { cookieNames, isSecure, SessionClaim } from "./next-auth.ts";
import { loginPath } from "./safe-path.ts";

export type User = { id: string; name: string; role: Role };

/** What the session cookie says, when it is ours and has not expired. */
export async function readSessionClaim(
  { sessionSecret: secret, url }: Pick<WebDeps["settings"], "sessionSecret" | "url">,
  given: Readonly<Record<string, string>>,
): Promise<SessionClaim | undefined> {
  const secureCookie = isSecure(url);
  // Without headers: a bearer token of the API is no session.
  const request = { cookies: given, headers: {} } as Parameters<typeof getToken>[0]["req"];
  const token = await getToken({ req: request, secret, secureCookie, cookieName: cookieNames(secureCookie).session });
  return SessionClaim.safeParse(token?.["sluice"]).data;
}

/** The row of who sent this request; it is read once, and decides whether the session still holds. */
async function sessionRow(deps: WebDeps): Promise<UserRow | undefined> {
  const given = Object.fromEntries((await cookies()).getAll().map(({ name, value }) => [name, value]));
  const claim = await readSessionClaim(deps.settings, given);
  return claim && findSessionUser(deps.engine.pool, claim);
}

/** The user whose session this is, unless it has ended. */
export async function findSessionUser(pool: pg.Pool, claim: SessionClaim): Promise<UserRow | undefined> {
  const user = await findUserById(pool, claim.id);
  return user?.sessionVersion === claim.sessionVersion ? user : undefined;
}

/** The same for the API, whose responses may take long: the row is read again whether the session has ended since. */
export async function sessionActor(deps: WebDeps): Promise<Omit<Actor, "kind"> | undefined> {
  const user = await sessionRow(deps);
  if (user === undefined) return undefined;
  return {
    name: user.name,
    role: user.role,
    stillAllowed: async () => (await findSessionUser(deps.engine.pool, user)) !== undefined,
  };
}

/** The signed-in user of the page being rendered; read once per request. */
export const currentUser = cache(async (): Promise<User | undefined> => {
  const user = await sessionRow(await webDeps());
  return user && { id: user.id, name: user.name, role: user.role };
});

/** Every page's first line: the signed-in user, or off to the sign-in page and back to `path` afterwards. */
export async function requireUser(path: string): Promise<User> {
  const user = await currentUser();
  if (user === undefined) redirect(loginPath(path));
  return user;
}
