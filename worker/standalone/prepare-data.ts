import { ensureAdmin } from "#lib/auth/ensure-admin.ts";
import { createPool } from "#lib/db/pool.ts";
import type { Roles } from "#lib/db/roles/grants.ts";
import type { RoleOptions } from "#lib/db/roles/make-roles.ts";
import { proveAddresses, SessionAddressError } from "#lib/db/session-address.ts";
import { install } from "#lib/engine/install.ts";
import { StartupError } from "./startup-error.ts";

/**
 * Proves that both addresses lead to one database, brings it to this version and makes sure that somebody can sign in.
 * Returns the roles that processes may connect as, where there are any.
 */
export async function prepareData(
  { databaseUrl, sessionUrl }: { databaseUrl: string; sessionUrl: string },
  roleOptions: RoleOptions,
  adminPassword: string | undefined,
  say: (line: string) => void,
): Promise<{ generatedPassword?: string; roles: Roles | undefined }> {
  await proveAddresses(databaseUrl, sessionUrl).catch((error: unknown) => {
    throw error instanceof SessionAddressError ? new StartupError(error.message, { cause: error }) : error;
  });
  const { applied, roles, notes } = await install(sessionUrl, roleOptions);
  for (const name of applied) say(`Applied the migration ${name}`);
  for (const note of notes) say(note);
  const pool = createPool({ url: sessionUrl, max: 1, name: "standalone" });
  try {
    return { ...(await ensureAdmin(pool, adminPassword)), roles };
  } finally {
    await pool.end();
  }
}
