import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { OWN_NAMES } from "../pool.ts";
import { READER_SETTINGS, ROLE_SETTINGS } from "../session-settings.ts";
import { isLostRace } from "../tx.ts";
import { superusersOf, wrongAttributes } from "./attributes.ts";
import { compareGrants, LOGINS, type Login, type Roles, rolesOf } from "./grants.ts";
import { ownersOf, transfersTo } from "./ownership.ts";
import { scramVerifier } from "./scram.ts";

export type Passwords = Partial<Record<Login, string>>;

export type RoleOptions = { prefix: string; passwords: Passwords };

/** Which roles there are now, if all of them could be made and given what they need; and what could not be done. */
export type Made = { roles: Roles | undefined; notes: string[] };

type Me = { name: string; isSuper: boolean; mayCreate: boolean; version: number };

const INSUFFICIENT_PRIVILEGE = "42501";

/** Another database of the server may be making the same roles: a row of the catalog was made or changed by another at once. */
const PASSING = new Set(["42710", "23505", "XX000"]);

/** Long enough for the transactions that use a table, short for those that come after and wait behind this. */
const LOCK_TIMEOUT = "300ms";
const TRIES = 200;
const PAUSE_MS = 200;
const CONNECT_MS = 5_000;

/** Does `work` on a session of its own that no other installation in this database has at the same time. */
export async function inRolesSession<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "sluice-roles",
    connectionTimeoutMillis: CONNECT_MS,
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(OWN_NAMES);
    await client.query("set statement_timeout = 0; set lock_timeout = '60s'");
    // Of two that migrate at once the second finds everything done.
    await client.query("select pg_advisory_lock(hashtext('sluice.roles'))");
    return await work(client);
  } finally {
    // The lock goes with the connection.
    await client.end();
  }
}

/**
 * Makes the roles that are missing and has their owner own what Sluice has in this database. Returns without
 * roles, and why, where the role of `client` may not do that: everything then stays with that one role. Changes
 * nothing that is as it should be; roles that may too much are put right, or named in the notes. What takes a lock of a table that live processes use waits for it a moment
 * only, again and again. Throws when such a table cannot be had within about a minute and a half, and
 * when one of the roles is a superuser and stays one.
 */
export async function makeRoles(client: pg.Client, prefix: string): Promise<Made> {
  const roles = rolesOf(prefix);
  await client.query(`set lock_timeout = '${LOCK_TIMEOUT}'`);
  try {
    const me = await whoAmI(client);
    const missing = await missingRoles(client, roles);
    if (missing.length > 0 && !me.isSuper && !me.mayCreate) {
      return { roles: undefined, notes: [withoutRoles(me.name, `may not make ${missing.join(", ")} (CREATEROLE)`)] };
    }
    for (const role of missing)
      await change(client, `create role ${quoted(role)} ${role === roles.owner ? "nologin" : "login"}`);
    const notes = await putRight(client, roles);
    await joinOwner(client, me, roles.owner);
    await giveSchemas(client, me, roles.owner);
    return { roles, notes };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const { rows } = await client.query<{ name: string }>("select current_user as name");
    return { roles: undefined, notes: [withoutRoles(rows[0]!.name, `may not make them: ${error.message}`)] };
  }
}

function withoutRoles(me: string, why: string): string {
  return (
    `No roles of their own for web, scheduler and worker: the role ${me} ${why}. Every process goes on with one role, ` +
    "which owns the tables; docs/roles.md says how to change that"
  );
}

async function whoAmI(client: pg.Client): Promise<Me> {
  const { rows } = await client.query<Me>(
    `select rolname as name, rolsuper as "isSuper", rolcreaterole as "mayCreate",
            current_setting('server_version_num')::int as version
       from pg_roles where rolname = current_user`,
  );
  return rows[0]!;
}

async function missingRoles(client: pg.Client, roles: Roles): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) r(name) where name not in (select rolname from pg_roles) order by name",
    [Object.values(roles)],
  );
  return rows.map(({ name }) => name);
}

/** Roles that somebody else has made may more than ours do. Returns what is wrong and was not to be changed, in words. */
async function putRight(client: pg.Client, roles: Roles): Promise<string[]> {
  const notes: string[] = [];
  for (const { role, what, statement } of await wrongAttributes(client, roles)) {
    if (statement === null) {
      notes.push(`The role ${role} ${what}, which Sluice has not made it`);
      continue;
    }
    try {
      await change(client, statement);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      notes.push(`The role ${role} ${what}, and should not be (${statement}): ${error.message}`);
    }
  }
  const superusers = await superusersOf(client, roles);
  if (superusers.length > 0)
    throw new Error(
      `none of Sluice's roles may be a superuser, as ${superusers.join(", ")} is: have a superuser do ` +
        `${superusers.map((role) => `alter role ${quoted(role)} nosuperuser`).join("; ")}, or set another SLUICE_ROLE_PREFIX`,
    );
  return notes;
}

/** Since 16 a role that makes another may grant it to itself, and has nothing of it before. */
async function joinOwner(client: pg.Client, me: Me, owner: string): Promise<void> {
  if (me.isSuper) return;
  const { rows } = await client.query<{ joined: boolean }>(
    `select pg_has_role($1, 'USAGE') and pg_has_role($1, $2) as joined`,
    [owner, me.version >= 160_000 ? "SET" : "MEMBER"],
  );
  if (!rows[0]!.joined) await joinAs(client, me, owner, me.name);
}

function joinAs(client: pg.Client, me: Me, owner: string, member: string): Promise<void> {
  const how = me.version >= 160_000 ? " with inherit true, set true" : "";
  return change(client, `grant ${quoted(owner)} to ${quoted(member)}${how}`);
}

/** Processes that run under a role that owned something until now keep its rights: they become its owner's member. */
async function giveSchemas(client: pg.Client, me: Me, owner: string): Promise<void> {
  const { rows } = await client.query<{ may: boolean; database: string }>(
    `select has_database_privilege($1, current_database(), 'create') as may, format('%I', current_database()) as database`,
    [owner],
  );
  if (!rows[0]!.may) await change(client, `grant create on database ${rows[0]!.database} to ${quoted(owner)}`);
  for (const { name, isSuper } of await ownersOf(client, owner))
    if (!isSuper && name !== me.name) await joinAs(client, me, owner, name);
  for (const statement of await transfersTo(client, owner)) await change(client, statement);
}

/** Gives the roles what they may do, how their sessions are, and their passwords. Returns what could not be done. */
export async function equipRoles(client: pg.Client, roles: Roles, passwords: Passwords): Promise<string[]> {
  await client.query(`set lock_timeout = '${LOCK_TIMEOUT}'`);
  await grantAll(client, roles);
  const notes: string[] = [];
  const unlessRefused = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      notes.push(`${what}: ${error.message}`);
    }
  };
  for (const login of LOGINS) {
    const role = roles[login];
    await unlessRefused(`The role ${role} could not be given its settings`, () => giveSettings(client, login, role));
    const password = passwords[login];
    if (password === undefined) continue;
    await unlessRefused(`The role ${role} could not be given its password`, () => givePassword(client, role, password));
  }
  await unlessRefused(
    `The role ${roles.scheduler} does not see what sessions of other roles do, and names fewer of those that keep old ` +
      `history (grant pg_read_all_stats to ${roles.scheduler})`,
    () => showSessions(client, roles.scheduler),
  );
  return notes;
}

async function grantAll(client: pg.Client, roles: Roles): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `select format('grant usage on schema %I to %I', s, r) as statement
       from unnest(array['sluice', 'sluice_boss']) s, unnest($1::text[]) r
      where not has_schema_privilege(r, s, 'usage') and not (s = 'sluice_boss' and r = $2)
      union all
     select format('grant connect on database %I to %I', current_database(), r) from unnest($1::text[]) r
      where not has_database_privilege(r, current_database(), 'connect')`,
    [LOGINS.map((login) => roles[login]), roles.reader],
  );
  const { statements } = await compareGrants(client, roles);
  for (const statement of [...rows.map((row) => row.statement), ...statements]) await change(client, statement);
}

/** Other times than ours are an operator's choice, and stay. */
async function giveSettings(client: pg.Client, login: Login, role: string): Promise<void> {
  const wanted = login === "reader" ? READER_SETTINGS : ROLE_SETTINGS;
  const { rows } = await client.query<{ statement: string }>(
    `select format('alter role %I in database %I set %I = ', $1::text, current_database(), s.name)
              || case s.name when 'search_path' then s.value else format('%L', s.value) end as statement
       from unnest($2::text[], $3::text[]) s(name, value)
       left join (select split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value
                    from pg_db_role_setting d, unnest(d.setconfig) c
                   where d.setrole = (select oid from pg_roles where rolname = $1)
                     and d.setdatabase = (select oid from pg_database where datname = current_database())) h using (name)
      where h.value is null or h.value <> s.value and not s.name like '%timeout'`,
    [role, Object.keys(wanted), Object.values(wanted)],
  );
  for (const { statement } of rows) await change(client, statement);
}

/** Only where the password is not the role's already. The statement holds what Postgres keeps of it, not the password. */
async function givePassword(client: pg.Client, role: string, password: string): Promise<void> {
  // Where no password is asked for (`trust`), one that lets in is no proof that the role has it.
  const isProved =
    (await logsIn(client, role, password)) && !(await logsIn(client, role, randomBytes(18).toString("hex")));
  if (!isProved) await change(client, `alter role ${quoted(role)} password '${scramVerifier(password)}'`);
}

async function logsIn(client: pg.Client, user: string, password: string): Promise<boolean> {
  const { host, port, database, ssl } = client;
  const other = new pg.Client({
    host,
    port,
    database: database!,
    user,
    password,
    ssl,
    connectionTimeoutMillis: CONNECT_MS,
  });
  other.on("error", () => undefined);
  try {
    await other.connect();
    return true;
  } catch {
    return false;
  } finally {
    await other.end().catch(() => undefined);
  }
}

async function showSessions(client: pg.Client, scheduler: string): Promise<void> {
  const { rows } = await client.query<{ sees: boolean }>(
    "select pg_has_role($1, 'pg_read_all_stats', 'usage') as sees",
    [scheduler],
  );
  if (!rows[0]!.sees) await change(client, `grant pg_read_all_stats to ${quoted(scheduler)}`);
}

/** Does it again where a lock was not to be had, or another session was changing the same. */
async function change(client: pg.Client, statement: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.query(statement);
      return;
    } catch (error) {
      const code = error instanceof pg.DatabaseError ? (error.code ?? "") : "";
      if (PASSING.has(code) && statement.startsWith("create role")) return;
      if (tries === TRIES || !(PASSING.has(code) || isLostRace(error))) throw error;
      await delay(PAUSE_MS);
    }
  }
}

function isRefusal(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && error.code === INSUFFICIENT_PRIVILEGE;
}

/** Names are made of a setting that allows letters, digits and underscores, or come from the catalog. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
