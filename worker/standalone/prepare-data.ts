import { ensureAdmin } from "#lib/auth/ensure-admin.ts";
import { install } from "#lib/engine/install.ts";
import { createPool } from "#lib/db/pool.ts";
import { proveAddresses, SessionAddressError } from "#lib/db/session-address.ts";
import { StartupError } from "./startup-error.ts";

/** Proves that both addresses lead to one database, brings it to this version and makes sure that somebody can sign in. */
export async function prepareData(
  { databaseUrl, sessionUrl }: { databaseUrl: string; sessionUrl: string },
  adminPassword: string | undefined,
  say: (line: string) => void,
): Promise<{ generatedPassword?: string }> {
  await proveAddresses(databaseUrl, sessionUrl).catch((error: unknown) => {
    throw error instanceof SessionAddressError ? new StartupError(error.message, { cause: error }) : error;
  });
  const pool = createPool({ url: sessionUrl, max: 2, name: "standalone" });
  try {
    for (const name of await install(pool)) say(`Applied the migration ${name}`);
    return await ensureAdmin(pool, adminPassword);
  } finally {
    await pool.end();
  }
}
