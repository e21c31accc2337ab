import type { Db } from "../pool.ts";

/** What Sluice has in this database that `owner` does not own; sequences of columns and indexes go with their tables. */
const OTHERS = `
  with ours as (select oid, nspname from pg_namespace where nspname in ('sluice', 'sluice_boss')),
  things as (
    select 0 as step, nspowner as owner, format('schema %I', nspname) as text
      from pg_namespace where nspname in ('sluice', 'sluice_boss')
    union all
    select 1, c.relowner, format('%s %I.%I', case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end,
                                 o.nspname, c.relname)
      from pg_class c join ours o on o.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'S')
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                          and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and c.relkind = 'S')
    union all
    select 2, t.typowner, format('%s %I.%I', case t.typtype when 'd' then 'domain' else 'type' end, o.nspname, t.typname)
      from pg_type t join ours o on o.oid = t.typnamespace
      left join pg_class c on c.oid = t.typrelid
     where t.typtype in ('d', 'e') or t.typtype = 'c' and c.relkind = 'c'
    union all
    select 2, p.proowner, format('routine %I.%I(%s)', o.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
      from pg_proc p join ours o on o.oid = p.pronamespace)
  select t.step, t.text, r.rolname as name, r.rolsuper as "isSuper"
    from things t join pg_roles r on r.oid = t.owner
   where r.rolname <> $1 order by t.step, t.text`;

type Other = { text: string; name: string; isSuper: boolean };

/** Roles other than `owner` that own something of Sluice. */
export async function ownersOf(db: Db, owner: string): Promise<{ name: string; isSuper: boolean }[]> {
  const { rows } = await db.query<Other>(OTHERS, [owner]);
  return [...new Map(rows.map(({ name, isSuper }) => [name, { name, isSuper }])).values()];
}

/** Statements that give what others own to `owner`, schemas first. */
export async function transfersTo(db: Db, owner: string): Promise<string[]> {
  const { rows } = await db.query<Other>(OTHERS, [owner]);
  return rows.map(({ text }) => `alter ${text} owner to "${owner}"`);
}
