import { ensureAdmin } from "#lib/auth/ensure-admin.ts";
import { install } from "#lib/engine/install.ts";
import { createPool } from "#lib/db/pool.ts";

/** Brings the database to this version and makes sure that somebody can sign in. */
export async function prepareData(
  databaseUrl: string,
  adminPassword: string | undefined,
  say: (line: string) => void,
): Promise<{ generatedPassword?: string }> {
  const pool = createPool({ url: databaseUrl, max: 2, name: "standalone" });
  try {
    for (const name of await install(pool)) say(`Applied the migration ${name}`);
    return await ensureAdmin(pool, adminPassword);
  } finally {
    await pool.end();
  }
}
