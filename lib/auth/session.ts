import { getServerSession } from "next-auth";
import { redirect } from "next/navigation";
import { cache } from "react";
import type { WebDeps } from "#lib/boot.ts";
import { webDeps } from "#lib/boot.ts";
import { findUserById, type Role } from "#lib/db/users.ts";
import type { Actor } from "./authenticate.ts";
import { authOptions, SessionUser } from "./next-auth.ts";
import { loginPath } from "./safe-path.ts";

export type User = { id: string; name: string; role: Role };

/** Who sent this request, by its session cookie; the user's row decides whether the session still holds. */
async function sessionUser(deps: WebDeps): Promise<User | undefined> {
  const options = authOptions({ pool: deps.engine.pool, sessionSecret: deps.settings.sessionSecret });
  const session = SessionUser.safeParse((await getServerSession(options))?.user);
  if (!session.success) return undefined;
  const user = await findUserById(deps.engine.pool, session.data.id);
  if (user === undefined || user.sessionVersion !== session.data.sessionVersion) return undefined;
  return { id: user.id, name: user.name, role: user.role };
}

/** The same for the API, which may answer for long: the row is asked again whether the session has ended since. */
export async function sessionActor(deps: WebDeps): Promise<Omit<Actor, "kind"> | undefined> {
  const user = await sessionUser(deps);
  const row = user && (await findUserById(deps.engine.pool, user.id));
  if (user === undefined || row === undefined) return undefined;
  return {
    name: user.name,
    role: user.role,
    stillAllowed: async () => (await findUserById(deps.engine.pool, user.id))?.sessionVersion === row.sessionVersion,
  };
}

/** The signed-in user of the page being rendered; read once per request. */
export const currentUser = cache(async (): Promise<User | undefined> => sessionUser(await webDeps()));

/** Every page's first line: the signed-in user, or off to the sign-in page and back to `path` afterwards. */
export async function requireUser(path: string): Promise<User> {
  const user = await currentUser();
  if (user === undefined) redirect(loginPath(path));
  return user;
}
