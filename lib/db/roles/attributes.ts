import type { Db } from "../pool.ts";
import type { Roles } from "./grants.ts";

/** What is wrong with a role that was there before, and the statement that would put it right; none where that is not ours to say. */
export type Wrong = { role: string; what: string; statement: string | null };

/** Roles of Postgres itself that let look at the server, and do nothing. */
const LOOKERS = ["pg_monitor", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables"];

/**
 * Attributes first, superuser first of all. A membership is undone when it leads to one of ours, to a role that may more than
 * any of ours, or to power over the server; others, such as those that IAM logs in by, are an operator's.
 */
const WRONG = `
  with recursive
  ours as (select r.*, r.rolname = $2 as owns from pg_roles r where r.rolname = any ($1)),
  attributes as (
    select o.rolname as role, a.what, format('alter role %I %s', o.rolname, a.cure) as statement, a.step
      from ours o cross join lateral (values
        (0, o.rolsuper, 'is a superuser', 'nosuperuser'),
        (1, o.rolcreaterole, 'may make roles', 'nocreaterole'),
        (1, o.rolcreatedb, 'may make databases', 'nocreatedb'),
        (1, o.rolreplication, 'may copy the whole server', 'noreplication'),
        (1, o.rolbypassrls, 'is bound by no row security', 'nobypassrls'),
        (1, o.rolcanlogin and o.owns, 'may log in', 'nologin'),
        (1, not o.rolcanlogin and not o.owns, 'may not log in', 'login')) a(step, is_so, what, cure)
     where a.is_so),
  reached (via, role) as (
    select a.roleid, a.roleid from ours o join pg_auth_members a on a.member = o.oid
    union
    select r.via, a.roleid from reached r join pg_auth_members a on a.member = r.role),
  powerful as (
    select distinct r.via from reached r join pg_roles p on p.oid = r.role
     where p.rolname = any ($1) or p.rolsuper or p.rolcreaterole or p.rolcreatedb or p.rolreplication or p.rolbypassrls
        or p.rolname like 'pg\\_%' and p.rolname <> all ($3)
        or p.oid = (select datdba from pg_database where datname = current_database())),
  memberships as (
    select o.rolname as role, format('is a member of %s', p.rolname) as what,
           case when a.roleid in (select via from powerful) then
             format('revoke %I from %I', p.rolname, o.rolname)
               || case when current_setting('server_version_num')::int >= 160000
                       then format(' granted by %I', pg_get_userbyid(a.grantor)) else '' end || ' cascade' end as statement, 2 as step
      from ours o join pg_auth_members a on a.member = o.oid join pg_roles p on p.oid = a.roleid
     where p.rolname <> all ($3))
  select role, what, statement from (table attributes union all table memberships) w
   where role <> current_user order by step, role, what, statement`;

/** Compares the roles that there are with what Sluice makes them; the role that asks is left as it is. */
export async function wrongAttributes(db: Db, roles: Roles): Promise<Wrong[]> {
  const { rows } = await db.query<Wrong>(WRONG, [Object.values(roles), roles.owner, LOOKERS]);
  return rows;
}

/** Those roles that are superusers, for whom no right counts. */
export async function superusersOf(db: Db, roles: Roles): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    "select rolname as name from pg_roles where rolsuper and rolname = any ($1) order by 1",
    [Object.values(roles)],
  );
  return rows.map(({ name }) => name);
}
