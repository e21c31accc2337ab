import path from "node:path";
import { LOGINS, type Login, type Roles } from "#lib/db/roles/grants.ts";
import type { Passwords } from "#lib/db/roles/make-roles.ts";
import type { Settings } from "#lib/env.ts";
import { readOrMakeSecret } from "./home.ts";

/** The passwords of the settings; of an embedded Postgres, the others are made at random once and kept in `folder`. */
export async function rolePasswords(settings: Settings, folder: string, isEmbedded: boolean): Promise<Passwords> {
  if (!isEmbedded) return settings.rolePasswords;
  const kept = await Promise.all(
    LOGINS.map(async (login) => [
      login,
      settings.rolePasswords[login] ?? (await readOrMakeSecret(path.join(folder, login))),
    ]),
  );
  return Object.fromEntries(kept) as Passwords;
}

/** The same settings, with both addresses as those of the process's own role, where it has one and its password is known. */
export function asRole(settings: Settings, login: Login, roles: Roles | undefined, passwords: Passwords): Settings {
  const password = passwords[login];
  if (roles === undefined || password === undefined) return settings;
  const own = (url: string | undefined): string | undefined =>
    url === undefined ? undefined : addressAs(url, roles[login], password);
  return { ...settings, databaseUrl: own(settings.databaseUrl), sessionUrl: own(settings.sessionUrl) };
}

function addressAs(text: string, role: string, password: string): string {
  const url = new URL(text);
  // Both in the form that URLs want, which the driver undoes.
  url.username = role;
  url.password = encodeURIComponent(password);
  // A user or a password may be named behind the question mark as well, and would win.
  for (const name of ["user", "password"]) url.searchParams.delete(name);
  return url.href;
}
