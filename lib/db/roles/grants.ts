import type { Db } from "../pool.ts";
import { PRIVILEGES } from "./privileges.ts";

/** The processes that have a role of their own, and who only reads. */
export const LOGINS = ["web", "scheduler", "worker", "reader"] as const;
export type Login = (typeof LOGINS)[number];

/** Names of roles: of each login, and of the owner, whom nobody connects as. */
export type Roles = Record<Login | "owner", string>;

/** The roles of this prefix. */
export function rolesOf(prefix: string): Roles {
  const names = (["owner", ...LOGINS] as const).map((login) => [login, `${prefix}_${login}`]);
  return Object.fromEntries(names) as Roles;
}

const WORDS = { r: "SELECT", a: "INSERT", w: "UPDATE", d: "DELETE", U: "USAGE", X: "EXECUTE" } as const;

type Line = { name: string; wanted: Record<Login, string[]> };

/** The table of privileges, line by line. */
export const LINES: readonly Line[] = PRIVILEGES.trim()
  .split("\n")
  .slice(1)
  .filter((line) => line !== "")
  .map((line) => {
    const [name, ...cells] = line.split(/\s+/) as [string, ...string[]];
    const words = cells.map((cell) => (cell === "-" ? [] : wordsOf(cell, line)));
    return { name, wanted: Object.fromEntries(LOGINS.map((login, n) => [login, words[n]!])) as Line["wanted"] };
  });

/** `rw(one,two)` is SELECT, UPDATE (one), UPDATE (two). */
function wordsOf(cell: string, line: string): string[] {
  return [...cell.matchAll(/([a-zA-Z])(?:\(([a-z_,]+)\))?|./g)].flatMap(([text, letter, columns]) => {
    const word = (WORDS as Record<string, string | undefined>)[letter ?? ""];
    if (word === undefined) throw new Error(`there is no privilege ${text}: ${line}`);
    return columns === undefined ? [word] : columns.split(",").map((column) => `${word} (${column})`);
  });
}

/** A relation or function as the catalog has it; `held` is by grantee, of which "" is everybody. */
type Thing = { name: string; text: string; held: Record<string, string[]> };

const THINGS = `
  with things as (
    select case n.nspname when 'sluice' then '' else 'boss.' end || c.relname as name,
           format(case c.relkind when 'S' then 'sequence' else 'table' end || ' %I.%I', n.nspname, c.relname) as text,
           coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner)) as acl,
           c.relowner as owner, c.oid as relation
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('sluice', 'sluice_boss') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select case n.nspname when 'sluice' then '' else 'boss.' end || p.proname || '()',
           format('routine %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
           coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, null
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('sluice', 'sluice_boss'))
  select name, text, coalesce(jsonb_object_agg(coalesce(rolname, ''), words) filter (where words is not null), '{}') as held
    from things
    left join lateral (
      select r.rolname, jsonb_agg(a.word order by a.word) as words
        from (select grantee, privilege_type as word from aclexplode(acl)
              union all
              select e.grantee, format('%s (%s)', e.privilege_type, c.attname)
                from pg_attribute c cross join aclexplode(c.attacl) e where c.attrelid = relation and not c.attisdropped) a
        left join pg_roles r on r.oid = a.grantee
       where a.grantee <> owner group by r.rolname) h on true
   group by name, text order by name, text`;

/** What the catalog has beside the table: statements that make the one of the other, and names that only one has. */
export type Difference = { statements: string[]; unnamed: string[]; gone: string[] };

/** Compares the privileges in this database with the table, for these roles and for everybody. */
export async function compareGrants(db: Db, roles: Roles): Promise<Difference> {
  const { rows } = await db.query<Thing>(THINGS);
  const patterns = LINES.map((line) => ({ ...line, pattern: patternOf(line.name) }));
  const lineOf = (name: string): Line | undefined => patterns.find(({ pattern }) => pattern.test(name));
  return {
    statements: rows.flatMap((thing) => statementsFor(thing, lineOf(thing.name), roles)),
    unnamed: rows.filter(({ name }) => lineOf(name) === undefined).map(({ name }) => name),
    gone: patterns.filter(({ pattern }) => !rows.some(({ name }) => pattern.test(name))).map(({ name }) => name),
  };
}

function patternOf(name: string): RegExp {
  return new RegExp(`^${name.replaceAll(/[.()]/g, String.raw`\$&`).replaceAll("*", String.raw`\d+`)}$`);
}

/** What no line names is nobody's but the owner's. */
function statementsFor({ text, held }: Thing, line: Line | undefined, roles: Roles): string[] {
  const forRole = (role: string, name: string, wanted: readonly string[]): string[] => {
    const has = held[name] ?? [];
    const missing = wanted.filter((word) => !has.includes(word));
    const extra = has.filter((word) => !wanted.includes(word));
    const grant = (words: readonly string[]): string[] =>
      words.length > 0 ? [`grant ${words.join(", ")} on ${text} to ${role}`] : [];
    if (extra.length === 0) return grant(missing);
    // In one transaction; what is revoked of a table goes from its columns, too, and is granted again.
    return [[`revoke ${extra.join(", ")} on ${text} from ${role}`, ...grant(wanted)].join("; ")];
  };
  return [
    ...LOGINS.flatMap((login) => forRole(`"${roles[login]}"`, roles[login], line?.wanted[login] ?? [])),
    ...forRole("public", "", []),
  ];
}
