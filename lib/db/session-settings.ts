import type pg from "pg";
import type { Db } from "./pool.ts";

/**
 * What every session of Sluice's role has in Sluice's database. Settings of the role, and not parameters
 * of a connection: a pooler refuses or ignores those.
 *
 * Plans: named statements keep their plan until statistics change, and a new installation's tables are all
 * small. A sequential scan that is chosen then would be there until the next analyze of a table that has
 * grown to thousands of rows, and every hot statement has an index to use. None is planned anew for the
 * values it is given: that takes as long as running it. Isolation: a later statement of a transaction must
 * see what others committed before its locks were granted. Times: no statement may wait for ever, neither for a lock nor for a client that
 * has forgotten its transaction. Other times than these are an operator's choice; none is not.
 */
export const SESSION_SETTINGS = {
  enable_seqscan: "off",
  jit: "off",
  plan_cache_mode: "force_generic_plan",
  default_transaction_isolation: "read committed",
  lock_timeout: "2s",
  statement_timeout: "15s",
  idle_in_transaction_session_timeout: "10s",
} as const;

/** What is not written with its schema is Postgres's own: nothing that a role makes takes the place of a function or a table. */
const SEARCH_PATH = "pg_catalog, pg_temp";

/** What the roles of the processes have that `sluice migrate` makes. */
export const ROLE_SETTINGS = { ...SESSION_SETTINGS, search_path: SEARCH_PATH } as const;

/** The role for reports reads only, is planned for as any other is, and keeps nothing for long: old rows stay while it reads. */
export const READER_SETTINGS = {
  search_path: SEARCH_PATH,
  default_transaction_read_only: "on",
  default_transaction_isolation: SESSION_SETTINGS.default_transaction_isolation,
  lock_timeout: SESSION_SETTINGS.lock_timeout,
  statement_timeout: "60s",
  idle_in_transaction_session_timeout: SESSION_SETTINGS.idle_in_transaction_session_timeout,
} as const;

/** Makes a session one as of any other role: for what takes as long as tables are large, and sets limits of its own where it needs some. */
export const WITHOUT_LIMITS =
  "set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; " +
  "set enable_seqscan = on; set jit = on; set plan_cache_mode = auto";

/** "sess" in ASCII: two processes that change one row of the catalog at once fail. */
const LOCK = 0x73657373;

/** A setting that a session has not got. */
export type LackingSetting = { name: string; is: string; shouldBe: string };

/**
 * Gives the role that `pool` connects as these settings, where it has not got them, and closes its
 * connections that began without. Throws when new sessions still lack them: then something between
 * Sluice and Postgres sets others, or keeps sessions from before.
 */
export async function keepSessionSettings(pool: pg.Pool): Promise<void> {
  let lacking: string[] = [];
  // One more than there may be connections from before.
  for (let n = 0; n <= pool.options.max; n++) {
    const one = await giveOne(pool);
    if (one.refusal !== undefined) throw one.refusal;
    lacking = one.lacking;
    if (lacking.length === 0) return;
  }
  throw new Error(
    `sessions of this role have other settings than those that were just made for it (${lacking.join(", ")}): ` +
      "a pooler must open its connections anew (RECONNECT in PgBouncer), and must set none of these itself",
  );
}

/** What connections of a pool lacked, and why the role could not be given it; nothing where it could. */
export type GivenSettings = { lacking: string[]; refusal: Error | undefined };

/**
 * Looks at every connection of the pool that nobody uses just now, at one at least, and closes those
 * that lack a setting. The role is given what they lack.
 */
export async function giveLackingSettings(pool: pg.Pool): Promise<GivenSettings> {
  const looks = Array.from({ length: Math.max(1, pool.idleCount) }, () => giveOne(pool));
  // All of them come to their end, so that no connection is still under way afterwards.
  await Promise.allSettled(looks);
  const all = await Promise.all(looks);
  return {
    lacking: [...new Set(all.flatMap(({ lacking }) => lacking))].toSorted(),
    refusal: all.find(({ refusal }) => refusal !== undefined)?.refusal,
  };
}

/** What sessions of `db` lack: see SESSION_SETTINGS. */
export async function lackingSettings(db: Db): Promise<LackingSetting[]> {
  const { rows } = await db.query<LackingSetting>(
    `select name, current_setting(name) as is, value as "shouldBe" from unnest($1::text[], $2::text[]) s(name, value)
      where current_setting(name) <> value and (current_setting(name) = '0' or name not like '%timeout')`,
    [Object.keys(SESSION_SETTINGS), Object.values(SESSION_SETTINGS)],
  );
  return rows;
}

/** Asks one connection what it lacks. Where it lacks something the role is given it, and the connection closed. */
async function giveOne(pool: pg.Pool): Promise<GivenSettings> {
  const client = await pool.connect();
  let isRight = false;
  try {
    const lacking = await lackingSettings(client);
    isRight = lacking.length === 0;
    const refusal = isRight ? undefined : await give(client, lacking);
    return { lacking: lacking.map(({ name }) => name), refusal };
  } finally {
    client.release(!isRight);
  }
}

/** Returns why the role may not have them. */
async function give(client: pg.PoolClient, lacking: readonly LackingSetting[]): Promise<Error | undefined> {
  const { rows } = await client.query<{ statement: string }>(
    // With its schema: this is a session as the role has it, which may be an owner's.
    `select pg_catalog.format('alter role %I in database %I set %I = %L', current_user, current_database(), name, value) as statement
       from unnest($1::text[], $2::text[]) s(name, value)`,
    [lacking.map(({ name }) => name), lacking.map(({ shouldBe }) => shouldBe)],
  );
  try {
    await client.query("begin");
    await client.query("select pg_advisory_xact_lock($1)", [LOCK]);
    for (const { statement } of rows) await client.query(statement);
    await client.query("commit");
    return undefined;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
