import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { compareGrants, LINES, LOGINS, type Login, rolesOf } from "./grants.ts";

const database = testDatabase();
const ROLES = rolesOf("sluice");

test("the catalog has what the table says, and every table, view, sequence and function has a line", async () => {
  expect(await compareGrants(database.pool, ROLES)).toEqual({ statements: [], unnamed: [], gone: [] });
});

test("what is missing or too much is found, and what is new has no line", async () => {
  const client = await database.pool.connect();
  try {
    await client.query("begin");
    await client.query("grant select (password_hash), insert on sluice.app_user to sluice_worker");
    await client.query("revoke execute on function sluice.claim_1 from sluice_worker");
    await client.query("create table sluice.unheard_of (id int)");
    await client.query("create function sluice.unheard_of() returns int language sql return 1");
    const { statements, unnamed } = await compareGrants(client, ROLES);
    expect(unnamed).toEqual(["unheard_of", "unheard_of()"]);
    expect(statements).toEqual([
      'revoke INSERT, SELECT (password_hash) on table sluice.app_user from "sluice_worker"',
      expect.stringMatching(/^grant EXECUTE on routine sluice\.claim_1\(.*\) to "sluice_worker"$/),
      "revoke EXECUTE on routine sluice.unheard_of() from public",
    ]);
  } finally {
    await client.query("rollback");
    client.release();
  }
});

test("a right to all of a table gives way to the one to some of its columns", async () => {
  const client = await database.pool.connect();
  try {
    await client.query("begin");
    await client.query("grant update on sluice.dag to sluice_worker");
    const { statements } = await compareGrants(client, ROLES);
    expect(statements).toEqual([
      'revoke UPDATE on table sluice.dag from "sluice_worker"; ' +
        'grant SELECT, UPDATE (updated_at) on table sluice.dag to "sluice_worker"',
    ]);
    await client.query(statements[0]!);
    expect(await compareGrants(client, ROLES)).toEqual({ statements: [], unnamed: [], gone: [] });
  } finally {
    await client.query("rollback");
    client.release();
  }
});

test("web, whose pages show everything, reads every table of ours, and a scheduler all but users' and migrations'", async () => {
  const { rows } = await database.pool.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'sluice'::regnamespace and relkind in ('r', 'p', 'v')
        and not relispartition order by 1`,
  );
  const unread = (login: Login): string[] =>
    rows.map(({ name }) => name).filter((name) => !held(login).has(`SELECT ${name}`));
  expect(unread("web")).toEqual([]);
  expect(unread("scheduler")).toEqual(["_prisma_migrations", "app_user"]);
});

type Body = { name: string; source: string; isDefiner: boolean };
type Trigger = { table: string; event: "a" | "w" | "d"; name: string };

const bodies = new Map<string, Body>();
let triggers: Trigger[] = [];

beforeAll(async () => {
  const { rows } = await database.pool.query<Body>(
    `select proname as name, regexp_replace(prosrc, '--[^\\n]*', '', 'g') as source, prosecdef as "isDefiner"
       from pg_proc where pronamespace = 'sluice'::regnamespace and prokind <> 'a'`,
  );
  for (const body of rows) bodies.set(body.name, body);
  const found = await database.pool.query<Trigger>(
    `select c.relname as table, e.event, p.proname as name
       from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
      cross join (values ('a', 4), ('d', 8), ('w', 16)) e(event, bit)
      where not t.tgisinternal and t.tgparentid = 0 and c.relnamespace = 'sluice'::regnamespace and t.tgtype & e.bit > 0`,
  );
  triggers = found.rows;
});

const NEEDS: [string, RegExp][] = [
  ["INSERT", /\binsert into sluice\.(\w+)/gi],
  ["UPDATE", /\bupdate sluice\.(\w+)/gi],
  ["DELETE", /\bdelete from sluice\.(\w+)/gi],
  ["UPDATE", /\binsert into sluice\.(\w+)[^;]*?\bon conflict\b[^;]*?\bdo update\b/gi],
  ["SELECT", /\b(?:from|join) sluice\.(\w+)\b(?!\s*\()/gi],
];

/** Who locks a row needs to be able to change a column of it: tables that a locking clause names by their alias, or follows. */
function lockedBy(text: string): string[] {
  return [...text.matchAll(/\bfor (?:no key update|update|key share|share)\b(?: of (\w+))?/gi)].flatMap((lock) => {
    const alias = lock[1] === undefined ? "" : ` ${lock[1]}`;
    const tables = new RegExp(String.raw`\b(?:from|join) sluice\.(\w+)\b(?!\s*\()${alias}`, "gi");
    const last = [...text.slice(0, lock.index).matchAll(tables)].at(-1);
    return last === undefined ? [] : [`LOCK ${last[1]}`];
  });
}

/** What this text needs of its caller: `PRIVILEGE name`. Names that are no table are no matter. */
function needsOf(text: string): string[] {
  const ofTables = NEEDS.flatMap(([word, pattern]) =>
    [...text.matchAll(pattern)].map((match) => `${word} ${match[1]}`),
  );
  const ofFunctions = [...text.matchAll(/\bsluice\.(\w+)\s*\(/g)].flatMap((match) =>
    bodies.has(match[1]!) ? [`EXECUTE ${match[1]}()`] : [],
  );
  return [...new Set([...ofTables, ...lockedBy(text), ...ofFunctions])];
}

function held(login: Login): Set<string> {
  const rights = LINES.flatMap(({ name, wanted }) => wanted[login].map((word) => `${word} ${name}`));
  return new Set(
    rights.flatMap((right) => (right.startsWith("UPDATE") ? [right, `LOCK ${right.split(" ").at(-1)}`] : [right])),
  );
}

test.for(LOGINS)(
  "%s may do all that the functions do that it may call, and triggers of tables that it writes",
  (login) => {
    const has = held(login);
    const missing = [...has].flatMap((right) => {
      const [word, name] = right.split(" ") as [string, string];
      if (word === "EXECUTE") {
        const body = bodies.get(name.slice(0, -2));
        return body === undefined || body.isDefiner ? [] : needsOf(body.source).map((need) => ({ for: name, need }));
      }
      const event = { INSERT: "a", UPDATE: "w", DELETE: "d" }[word];
      return triggers
        .filter((one) => one.table === name && one.event === event)
        .flatMap((one) => needsOf(bodies.get(one.name)!.source).map((need) => ({ for: `${word} ${name}`, need })));
    });
    expect(missing.filter(({ need }) => !has.has(need))).toEqual([]);
  },
);

test("only what opens and drops partitions runs as the owner, with a search path of its own", async () => {
  const { rows } = await database.pool.query<{ name: string; config: string[] }>(
    "select proname as name, proconfig as config from pg_proc where prosecdef and pronamespace in ('sluice'::regnamespace, 'sluice_boss'::regnamespace) order by 1",
  );
  expect(rows.map(({ name }) => name)).toEqual(["drop_partition", "open_generation"]);
  for (const { config } of rows) expect(config).toContain("search_path=pg_catalog, pg_temp");
});
