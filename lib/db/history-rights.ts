import type { Db } from "./pool.ts";

/** Throws where the role of `db` may not open and drop the partitions of history, which a scheduler does. */
export async function requireHistoryRights(db: Db): Promise<void> {
  const { rows } = await db.query<{ role: string; owner: string; may: boolean }>(
    `select pg_catalog.format('%I', current_user) as role, pg_catalog.format('%I', pg_get_userbyid(proowner)) as owner,
            has_function_privilege(oid, 'execute') as may
       from pg_proc where oid = 'sluice.drop_partition'::regproc`,
  );
  const { role, owner, may } = rows[0]!;
  if (may) return;
  throw new Error(
    `the role ${role} may not open and drop the partitions of history, as a scheduler must: connect as the role that ` +
      `\`sluice migrate\` has made for schedulers (docs/roles.md), or as a member of ${owner}, in DATABASE_URL and ` +
      "DATABASE_SESSION_URL",
  );
}
