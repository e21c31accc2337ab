import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import pg from "pg";
import { afterEach, describe, expect, inject, test } from "vitest";
import { migrate } from "#lib/db/migrate.ts";
import { createPool } from "#lib/db/pool.ts";
import { compareGrants, LOGINS, type Login, rolesOf } from "#lib/db/roles/grants.ts";
import { READER_SETTINGS, ROLE_SETTINGS } from "#lib/db/session-settings.ts";
import { createJobQueue } from "#lib/queue/job-queue.ts";
import { install } from "./install.ts";

/** Servers where the role that migrates is no superuser, as those of hosters. */

const SERVER = inject("postgresUrl");
const PASSWORDS = {
  web: "web-password-1",
  scheduler: "scheduler-password",
  worker: "worker%2F:@?#-password",
  reader: "reader-password",
};

const undo: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const one of undo.splice(0).toReversed()) await one();
});

function poolOf(url: string): pg.Pool {
  const pool = createPool({ url, max: 2, name: "test" });
  undo.push(() => pool.end());
  return pool;
}

function urlOf(user: string, password: string, database: string): string {
  return Object.assign(new URL(SERVER), { username: user, password: encodeURIComponent(password), pathname: database })
    .href;
}

/** A database that belongs to a role which is no superuser, and the prefix for others. */
async function hosted(attributes: string) {
  const prefix = `t${randomBytes(5).toString("hex")}`;
  const me = `${prefix}_me`;
  const admin = poolOf(Object.assign(new URL(SERVER), { pathname: "postgres" }).href);
  await admin.query(`create role ${me} login password 'me-password' ${attributes}`);
  await admin.query(`create database ${prefix} owner ${me}`);
  undo.push(async () => {
    await admin.query(`drop database ${prefix} with (force)`);
    const made = await admin.query<{ name: string }>("select rolname as name from pg_roles where rolname like $1", [
      `${prefix}\\_%`,
    ]);
    for (const { name } of made.rows.toReversed()) await admin.query(`drop role ${name}`);
  });
  const url = urlOf(me, "me-password", prefix);
  return {
    admin,
    me,
    prefix,
    url,
    roles: rolesOf(prefix),
    urlAs: (login: Login) => urlOf(`${prefix}_${login}`, PASSWORDS[login], prefix),
    install: (passwords = PASSWORDS) => install(url, { prefix, passwords }),
  };
}

const OWNERS = `
  select distinct pg_get_userbyid(owner) as owner
    from (select relowner as owner, relnamespace as space from pg_class union all select proowner, pronamespace from pg_proc
          union all select typowner, typnamespace from pg_type union all select nspowner, oid from pg_namespace) o
   where space in ('sluice'::regnamespace, 'sluice_boss'::regnamespace)`;

/** Which version each row has that an installation writes: the same again where nothing was written. */
const VERSIONS = `
  select 'class' as kind, oid::text as what, xmin::text from pg_class where relnamespace in ('sluice'::regnamespace, 'sluice_boss'::regnamespace)
  union all select 'routine', oid::text, xmin::text from pg_proc where pronamespace in ('sluice'::regnamespace, 'sluice_boss'::regnamespace)
  union all select 'member', oid::text, xmin::text from pg_auth_members where roleid in (select oid from pg_roles where rolname like $1)
  union all select 'setting', setrole::text, xmin::text from pg_db_role_setting where setrole in (select oid from pg_roles where rolname like $1)
  union all select 'role', oid::text, xmin::text from pg_authid where rolname like $1
  union all select 'database', oid::text, xmin::text from pg_database where datname = current_database()
  order by 1, 2, 3`;

describe("a role with CREATEROLE that is no superuser", () => {
  test("makes the roles, whose owner owns everything, and a second time writes nothing", async () => {
    const host = await hosted("createrole");
    const { roles, notes } = await host.install();
    expect(roles).toEqual(host.roles);
    // What only a superuser or an administrator of that role can grant is told.
    expect(notes).toEqual([expect.stringContaining(`grant pg_read_all_stats to ${host.roles.scheduler}`)]);
    const pool = poolOf(host.url);
    expect((await pool.query(OWNERS)).rows).toEqual([{ owner: host.roles.owner }]);
    expect(await compareGrants(pool, host.roles)).toEqual({ statements: [], unnamed: [], gone: [] });
    const admin = poolOf(Object.assign(new URL(SERVER), { pathname: host.prefix }).href);
    const before = (await admin.query(VERSIONS, [`${host.prefix}\\_%`])).rows;
    expect(before.length).toBeGreaterThan(100);
    expect((await host.install()).applied).toEqual([]);
    expect((await admin.query(VERSIONS, [`${host.prefix}\\_%`])).rows).toEqual(before);
  });

  test("gives each its password and its settings; none is a superuser or may make roles, and nobody connects as the owner", async () => {
    const host = await hosted("createrole");
    await host.install({ ...PASSWORDS, worker: "another-password" });
    await host.install();
    for (const login of LOGINS) {
      const pool = poolOf(host.urlAs(login));
      const wanted = login === "reader" ? READER_SETTINGS : ROLE_SETTINGS;
      const { rows } = await pool.query<{ name: string; value: string }>(
        "select name, current_setting(name) as value from unnest($1::text[]) s(name)",
        [Object.keys(wanted)],
      );
      expect(Object.fromEntries(rows.map(({ name, value }) => [name, value]))).toEqual(
        login === "reader" ? { ...wanted, statement_timeout: "1min" } : wanted,
      );
      const may = await pool.query<{ makes: boolean; owns: boolean }>(
        `select has_schema_privilege('sluice', 'create') or has_schema_privilege('sluice_boss', 'create')
                or has_database_privilege(current_database(), 'create') as makes,
                pg_has_role($1, 'member') as owns`,
        [host.roles.owner],
      );
      expect(may.rows).toEqual([{ makes: false, owns: false }]);
    }
    const { rows } = await host.admin.query(
      `select rolname from pg_roles where rolname = any ($1)
          and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolcanlogin = (rolname = $2))`,
      [Object.values(host.roles), host.roles.owner],
    );
    expect(rows).toEqual([]);
  });

  test("two that install at once agree", async () => {
    const host = await hosted("createrole");
    const both = await Promise.all([host.install(), host.install()]);
    expect(both.map(({ roles }) => roles)).toEqual([host.roles, host.roles]);
    expect((await poolOf(host.url).query(OWNERS)).rows).toEqual([{ owner: host.roles.owner }]);
  });
});

test("a role without CREATEROLE says what it has not done, and everything is its own as before", async () => {
  const host = await hosted("");
  const { roles, notes, applied } = await host.install();
  expect(roles).toBeUndefined();
  expect(applied.length).toBeGreaterThan(0);
  expect(notes).toEqual([
    expect.stringMatching(
      new RegExp(
        `^No roles of their own .* the role ${host.me} may not make ${host.prefix}_owner, .* \\(CREATEROLE\\)`,
      ),
    ),
  ]);
  expect((await poolOf(host.url).query(OWNERS)).rows).toEqual([{ owner: host.me }]);
});

test("roles that somebody else has made are used without CREATEROLE, by a member of their owner", async () => {
  const host = await hosted("");
  for (const role of Object.values(host.roles))
    await host.admin.query(`create role ${role} ${role === host.roles.owner ? "" : "login"}`);
  await host.admin.query(`grant ${host.roles.owner} to ${host.me}`);
  await host.admin.query(`grant create on database ${host.prefix} to ${host.roles.owner}`);
  const { roles, notes } = await host.install({} as typeof PASSWORDS);
  expect(roles).toEqual(host.roles);
  expect(notes.filter((note) => note.includes("could not be given its settings"))).toHaveLength(LOGINS.length);
  const pool = poolOf(host.url);
  expect((await pool.query(OWNERS)).rows).toEqual([{ owner: host.roles.owner }]);
  expect(await compareGrants(pool, host.roles)).toEqual({ statements: [], unnamed: [], gone: [] });
});

test("what a superuser owned, as in every embedded database before, goes to the owner, who is none", async () => {
  const host = await hosted("");
  const superuser = Object.assign(new URL(SERVER), { pathname: host.prefix }).href;
  const pool = poolOf(superuser);
  await migrate(pool);
  await createJobQueue(pool, () => undefined).install();
  expect((await pool.query(OWNERS)).rows).toEqual([{ owner: new URL(SERVER).username }]);
  const { roles, notes } = await install(superuser, { prefix: host.prefix, passwords: PASSWORDS });
  expect([roles, notes]).toEqual([host.roles, []]);
  expect((await pool.query(OWNERS)).rows).toEqual([{ owner: host.roles.owner }]);
  const sees = "select pg_has_role('pg_read_all_stats', 'usage') as sees";
  expect((await poolOf(host.urlAs("scheduler")).query(sees)).rows).toEqual([{ sees: true }]);
  expect((await poolOf(host.urlAs("worker")).query(sees)).rows).toEqual([{ sees: false }]);
});

test("what one role owned goes to the owner beside live sessions, which keep their rights and wait for moments only", async () => {
  const host = await hosted("");
  await host.install();
  await host.admin.query(`alter role ${host.me} createrole`);
  const live = poolOf(host.url);
  const busy = await live.connect();
  await busy.query("begin");
  await busy.query("update sluice.retention set keep_days = 7");
  const installing = host.install();
  const others = poolOf(host.url);
  // A table that somebody has locked is asked for again and again, and others get it in between.
  const asks = "select from pg_locks where relation = 'sluice.retention'::regclass and not granted";
  while ((await others.query(asks)).rowCount === 0) await new Promise(setImmediate);
  expect((await others.query("select keep_days from sluice.retention")).rows).toEqual([{ keep_days: 30 }]);
  await busy.query("commit");
  busy.release();
  expect((await installing).roles).toEqual(host.roles);
  expect((await live.query(OWNERS)).rows).toEqual([{ owner: host.roles.owner }]);
  // A process that was there before writes and opens generations as it did.
  await live.query("update sluice.retention set keep_days = 30");
  await live.query("select sluice.open_generation(90)");
  const scheduler = poolOf(host.urlAs("scheduler"));
  await scheduler.query("select sluice.open_generation(7), sluice.new_run_id(90)");
  await poolOf(host.urlAs("web")).query("select sluice.new_run_id(7)");
  await expect(poolOf(host.urlAs("worker")).query("select sluice.new_run_id(7)")).rejects.toMatchObject({
    code: "42501",
  });
});

test("functions that others have made in public are not called, in no session of a migrate", async () => {
  const host = await hosted("");
  const superuser = Object.assign(new URL(SERVER), { pathname: host.prefix }).href;
  const admin = poolOf(superuser);
  const other = `${host.prefix}_other`;
  await admin.query("grant create on schema public to public");
  await admin.query(`create role ${other} login password 'other-password'`);
  const hostile = poolOf(urlOf(other, "other-password", host.prefix));
  // Each fits its arguments better than Postgres's own, which takes any.
  const kinds = ["text", "name", "varchar"];
  const lists = [1, 2, 3].flatMap((n) =>
    Array.from({ length: kinds.length ** n }, (_, i) =>
      Array.from({ length: n }, (_, k) => kinds[Math.floor(i / kinds.length ** k) % kinds.length]!),
    ),
  );
  for (const list of lists)
    await hostile.query(
      `create function public.format(text, ${list.join(", ")}) returns text language plpgsql as $$ begin
         execute 'alter role ${other} superuser';
         return pg_catalog.format($1, variadic array[${list.map((_, n) => `$${n + 2}::text`).join(", ")}]);
       end $$`,
    );
  const trap = "select format('%I %I', 'a'::text, 'b'::text)";
  await expect(hostile.query(trap)).rejects.toMatchObject({ code: "42501" });
  await install(superuser, { prefix: host.prefix, passwords: PASSWORDS });
  // What an earlier release has left is put right by other statements.
  await admin.query(`alter table sluice.retention owner to ${new URL(SERVER).username}`);
  await admin.query(`revoke select on sluice.retention from ${host.roles.web}`);
  await admin.query("alter table sluice_boss.queue drop constraint sluice_plain_name");
  await install(superuser, { prefix: host.prefix, passwords: PASSWORDS });
  const { rows } = await admin.query("select rolsuper from pg_roles where rolname = $1", [other]);
  expect(rows).toEqual([{ rolsuper: false }]);
});

describe("roles that somebody else has made with more than they need", () => {
  const TOO_MUCH = "createrole createdb replication bypassrls";

  async function withMade(attributes: string, ofRoles: string) {
    const host = await hosted(attributes);
    const { owner, web, scheduler, worker, reader } = host.roles;
    await host.admin.query(`create role ${owner} login ${ofRoles}`);
    for (const role of [web, scheduler, worker]) await host.admin.query(`create role ${role} nologin ${ofRoles}`);
    await host.admin.query(`create role ${reader} login`);
    await host.admin.query(`create role ${host.prefix}_between; create role ${host.prefix}_iam`);
    await host.admin.query(
      `grant ${owner} to ${host.prefix}_between; grant ${host.prefix}_between, ${host.prefix}_iam to ${worker};
       grant pg_execute_server_program, pg_monitor to ${web}; grant ${web} to ${reader}`,
    );
    return host;
  }

  const WHAT = `
    select rolname as role, rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as much,
           rolcanlogin as login,
           array(select roleid::regrole::text from pg_auth_members where member = r.oid order by 1) as of
      from pg_roles r where rolname = any ($1) order by rolname`;

  test("are put right by a superuser, and what is an operator's is named", async () => {
    const host = await withMade("", `superuser ${TOO_MUCH}`);
    const superuser = Object.assign(new URL(SERVER), { pathname: host.prefix }).href;
    const { notes } = await install(superuser, { prefix: host.prefix, passwords: PASSWORDS });
    const { owner, web, scheduler, worker, reader } = host.roles;
    expect(notes).toEqual([`The role ${worker} is a member of ${host.prefix}_iam, which Sluice has not made it`]);
    expect((await host.admin.query(WHAT, [Object.values(host.roles)])).rows).toEqual([
      { role: owner, much: false, login: false, of: [] },
      { role: reader, much: false, login: true, of: [] },
      { role: scheduler, much: false, login: true, of: ["pg_read_all_stats"] },
      { role: web, much: false, login: true, of: ["pg_monitor"] },
      { role: worker, much: false, login: true, of: [`${host.prefix}_iam`] },
    ]);
  });

  test("are named by who may not put them right", async () => {
    const host = await withMade("", TOO_MUCH);
    const { owner, worker } = host.roles;
    await host.admin.query(`grant ${owner} to ${host.me}; grant create on database ${host.prefix} to ${owner}`);
    const { roles, notes } = await host.install({} as typeof PASSWORDS);
    expect(roles).toEqual(host.roles);
    expect(notes).toEqual(
      expect.arrayContaining([
        expect.stringMatching(new RegExp(`^The role ${worker} may make roles, and should not be .*nocreaterole`)),
        expect.stringMatching(
          new RegExp(`^The role ${worker} is a member of ${host.prefix}_between, and should not be`),
        ),
        expect.stringMatching(new RegExp(`^The role ${owner} may log in, and should not be .*nologin`)),
      ]),
    );
  });

  test("keep everything from being installed where one stays a superuser", async () => {
    const host = await withMade("createrole", "");
    await host.admin.query(`alter role ${host.roles.worker} superuser`);
    await expect(host.install()).rejects.toThrow(
      `none of Sluice's roles may be a superuser, as ${host.roles.worker} is: have a superuser do alter role`,
    );
    const found = await poolOf(host.url).query("select from pg_namespace where nspname = 'sluice'");
    expect(found.rowCount).toBe(0);
  });
});

async function logsIn(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

test("a server that asks nobody for a password still gets those that are given", async () => {
  const host = await hosted("createrole");
  await host.install();
  const { rows } = await host.admin.query<{ file: string }>("select current_setting('hba_file') as file");
  const { file } = rows[0]!;
  const rules = await readFile(file, "utf8");
  const isAsked = async (asked: boolean): Promise<void> => {
    await writeFile(file, asked ? rules : `host ${host.prefix} all 127.0.0.1/32 trust\n${rules}`);
    await host.admin.query("select pg_reload_conf()");
    while ((await logsIn(urlOf(host.roles.web, "wrong", host.prefix))) === asked);
  };
  undo.push(() => isAsked(true));
  await isAsked(false);
  await host.install({ ...PASSWORDS, web: "another-password" });
  await isAsked(true);
  expect(await logsIn(urlOf(host.roles.web, "another-password", host.prefix))).toBe(true);
  expect(await logsIn(host.urlAs("web"))).toBe(false);
  expect(await logsIn(host.urlAs("worker"))).toBe(true);
});
