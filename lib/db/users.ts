import type pg from "pg";
import { z } from "zod";

export const ROLES = ["admin", "operator", "viewer"] as const;
export type Role = (typeof ROLES)[number];

const UserRow = z.object({
  id: z.string(),
  name: z.string(),
  passwordHash: z.string(),
  role: z.enum(ROLES),
  sessionVersion: z.number().int(),
});
export type UserRow = z.infer<typeof UserRow>;

const COLUMNS = `id::text, name, password_hash as "passwordHash", role, session_version as "sessionVersion"`;

/** The user of this exact name. */
export async function findUserByName(pool: pg.Pool, name: string): Promise<UserRow | undefined> {
  const text = `select ${COLUMNS} from sluice.app_user where name = $1`;
  const { rows } = await pool.query({ name: "find-user-by-name", text, values: [name] });
  return UserRow.optional().parse(rows[0]);
}

/** The user with this id. */
export async function findUserById(pool: pg.Pool, id: string): Promise<UserRow | undefined> {
  const text = `select ${COLUMNS} from sluice.app_user where id = $1::bigint`;
  const { rows } = await pool.query({ name: "find-user-by-id", text, values: [id] });
  return UserRow.optional().parse(rows[0]);
}

/** Creates a user when there is none at all; false when somebody exists already. */
export async function createFirstUser(
  pool: pg.Pool,
  user: { name: string; passwordHash: string; role: Role },
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `insert into sluice.app_user (name, password_hash, role)
     select $1, $2, $3 where not exists (select from sluice.app_user)
     on conflict (name) do nothing`,
    [user.name, user.passwordHash, user.role],
  );
  return rowCount === 1;
}

/** True when no user has ever been made. */
export async function hasNoUser(pool: pg.Pool): Promise<boolean> {
  const { rowCount } = await pool.query("select from sluice.app_user limit 1");
  return rowCount === 0;
}

/** Ends every session of the user, when this one has not ended yet. */
export async function endSessions(pool: pg.Pool, session: { id: string; sessionVersion: number }): Promise<void> {
  await pool.query(
    "update sluice.app_user set session_version = session_version + 1 where id = $1::bigint and session_version = $2",
    [session.id, session.sessionVersion],
  );
}

/** Replaces the password unless somebody else just did; sessions made before are over. */
export async function replacePasswordIfCurrent(
  pool: pg.Pool,
  user: Pick<UserRow, "id" | "passwordHash">,
  passwordHash: string,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `update sluice.app_user set password_hash = $3, session_version = session_version + 1
     where id = $1::bigint and password_hash = $2`,
    [user.id, user.passwordHash, passwordHash],
  );
  return rowCount === 1;
}
