import type pg from "pg";
import { migrate } from "#lib/db/migrate.ts";
import { createPool } from "#lib/db/pool.ts";
import type { Roles } from "#lib/db/roles/grants.ts";
import { equipRoles, inRolesSession, makeRoles, type RoleOptions } from "#lib/db/roles/make-roles.ts";
import { keepSessionSettings } from "#lib/db/session-settings.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";

/** Ours by name, the roles when each process can have its own, and what could not be done, in words. */
export type Installed = { applied: string[]; roles: Roles | undefined; notes: string[] };

/**
 * Brings the database at `url` to this release: its roles, our migrations, pg-boss's own, what each role may
 * do, and the settings of the sessions of the role that connects. What is right already is left as it is. Where
 * the role may make no others, everything belongs to it, and `notes` says so.
 */
export async function install(
  url: string,
  options: RoleOptions = { prefix: "sluice", passwords: {} },
): Promise<Installed> {
  return inRolesSession(url, async (client) => {
    const { roles, notes } = await makeRoles(client, options.prefix);
    const applied = await withPool(url, roles?.owner, async (pool) => {
      const names = await migrate(pool);
      await createJobQueue(pool, () => undefined).install();
      return names;
    });
    await withPool(url, undefined, keepSessionSettings);
    if (roles !== undefined) notes.push(...(await equipRoles(client, roles, options.passwords)));
    return { applied, roles, notes };
  });
}

async function withPool<T>(url: string, role: string | undefined, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const pool = createPool({ url, max: 2, name: "migrate", ownNames: true, ...(role === undefined ? {} : { role }) });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}
