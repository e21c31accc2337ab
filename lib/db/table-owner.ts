import type { Db } from "./pool.ts";

/**
 * Throws where the role of `db` has not the rights of the one that owns the tables of Sluice: only that
 * one opens and drops the partitions of history.
 */
export async function requireOwner(db: Db): Promise<void> {
  const { rows } = await db.query<{ role: string; owner: string; may: boolean }>(
    `select format('%I', current_user) as role, format('%I', pg_get_userbyid(relowner)) as owner,
            pg_has_role(current_user, relowner, 'usage') as may
       from pg_class where oid = 'sluice.event'::regclass`,
  );
  const { role, owner, may } = rows[0]!;
  if (may) return;
  throw new Error(
    `the role ${role} does not own the tables of Sluice: ${owner} does, who has migrated, and only the owner opens and ` +
      `drops the partitions of history. Connect as ${owner} in DATABASE_URL and DATABASE_SESSION_URL, or grant ${owner} to ${role}`,
  );
}
