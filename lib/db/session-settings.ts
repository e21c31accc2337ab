import type pg from "pg";

/**
 * What every session of Sluice's role has in Sluice's database. Settings of the role, and not parameters
 * of a connection: a pooler refuses or ignores those.
 *
 * Plans: named statements keep the plan they were first given, and a new installation's tables are all
 * small. A sequential scan that is chosen then would still be there when they hold millions of rows, and
 * every hot statement has an index to use. None is planned anew for the values it is given: that takes
 * as long as running it. Times: no statement may wait for ever, neither for a lock nor for a client that
 * has forgotten its transaction. Other times than these are an operator's choice; none is not.
 */
export const SESSION_SETTINGS = {
  enable_seqscan: "off",
  jit: "off",
  plan_cache_mode: "force_generic_plan",
  lock_timeout: "2s",
  statement_timeout: "15s",
  idle_in_transaction_session_timeout: "10s",
} as const;

/** Makes a session one as of any other role: for what takes as long as tables are large, and sets limits of its own where it needs some. */
export const WITHOUT_LIMITS =
  "set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; " +
  "set enable_seqscan = on; set jit = on; set plan_cache_mode = auto";

/** "sess" in ASCII: two processes that change one row of the catalog at once fail. */
const LOCK = 0x73657373;

/**
 * Gives the role that `pool` connects as these settings, where it has not got them, and closes its
 * connections that began without. Throws when new sessions still lack them: then something between
 * Sluice and Postgres sets others, or keeps sessions from before.
 */
export async function keepSessionSettings(pool: pg.Pool): Promise<void> {
  let lacking: string[] = [];
  // One more than there may be connections from before.
  for (let n = 0; n <= pool.options.max; n++) {
    lacking = await giveOne(pool);
    if (lacking.length === 0) return;
  }
  throw new Error(
    `sessions of this role have other settings than those that were just made for it (${lacking.join(", ")}): ` +
      "a pooler must open its connections anew (RECONNECT in PgBouncer), and must set none of these itself",
  );
}

/** Asks one connection what it lacks and returns that. Where it lacks something the role is given it, and the connection closed. */
async function giveOne(pool: pg.Pool): Promise<string[]> {
  const client = await pool.connect();
  let lacking: string[] = [];
  try {
    const { rows } = await client.query<{ name: string; statement: string }>(
      `select name, format('alter role %I in database %I set %I = %L', current_user, current_database(), name, value) as statement
         from unnest($1::text[], $2::text[]) s(name, value)
        where current_setting(name) <> value and (current_setting(name) = '0' or name not like '%timeout')`,
      [Object.keys(SESSION_SETTINGS), Object.values(SESSION_SETTINGS)],
    );
    lacking = rows.map(({ name }) => name);
    if (rows.length > 0) {
      await client.query("begin");
      await client.query("select pg_advisory_xact_lock($1)", [LOCK]);
      for (const { statement } of rows) await client.query(statement);
      await client.query("commit");
    }
    return lacking;
  } finally {
    client.release(lacking.length > 0);
  }
}
