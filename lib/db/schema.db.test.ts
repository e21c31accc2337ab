import { readFile } from "node:fs/promises";
import { ORDERS, REPROCESSES } from "#lib/domain/backfill/plan.ts";
import { PRIORITIES } from "#lib/domain/model/task.ts";
import { describe, expect, test } from "vitest";
import {
  ATTEMPT_STATES,
  BACKFILL_STATES,
  FINAL_BACKFILL_STATES,
  FINAL_RUN_STATES,
  FINAL_TASK_STATES,
  RUN_ACTIONS,
  RUN_STATES,
  SLOT_CLASSES,
  TASK_STATES,
  TRIGGER_KINDS,
} from "#lib/domain/states.ts";
import { testDatabase } from "#lib/testing/database.ts";
import { migrate, readMigrations } from "./migrate.ts";
import { isMigrated } from "./schema-state.ts";

const database = testDatabase();

/** The texts that a CHECK constraint of this column, or of its domain, allows. */
async function allowed(table: string, column: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ definition: string }>(
    `select pg_get_constraintdef(c.oid) as definition
       from pg_attribute a
       join pg_constraint c on c.contype = 'c' and (c.contypid = a.atttypid or c.conrelid = a.attrelid and c.conkey = array[a.attnum])
      where a.attrelid = ('sluice.' || $1)::regclass and a.attname = $2`,
    [table, column],
  );
  return rows.flatMap(({ definition }) => [...definition.matchAll(/'([a-z_]+)'::text/g)].map((match) => match[1]!));
}

describe("CHECK constraints read the same state tables as the code", () => {
  test.each([
    ["dag_run", "state", RUN_STATES],
    ["task_instance", "state", TASK_STATES],
    ["dag_run", "trigger_kind", TRIGGER_KINDS],
    ["run_action", "kind", RUN_ACTIONS],
    ["workload", "slot_class", SLOT_CLASSES],
    ["workload", "priority", PRIORITIES],
    ["backfill", "state", BACKFILL_STATES],
    ["backfill", "priority", PRIORITIES],
    ["backfill", "reprocess", REPROCESSES],
    ["backfill", "start_order", ORDERS],
    ["live_attempt", "state", ATTEMPT_STATES.slice(0, 2)],
    ["attempt", "state", ATTEMPT_STATES.slice(3)],
  ] as const)("%s.%s", async (table, column, states) => {
    expect((await allowed(table, column)).toSorted()).toEqual([...states].toSorted());
  });

  test.each([
    ["dag_run", FINAL_RUN_STATES],
    ["task_instance", FINAL_TASK_STATES],
    ["backfill", FINAL_BACKFILL_STATES],
  ] as const)("%s has an end time exactly in its final states", async (table, finals) => {
    const { rows } = await database.pool.query<{ definition: string }>(
      `select pg_get_constraintdef(oid) as definition from pg_constraint
        where conrelid = ('sluice.' || $1)::regclass and conname = 'ended_iff_final'`,
      [table],
    );
    const { definition } = rows[0]!;
    const list = /'\{([a-z_,]+)\}'/.exec(definition)?.[1];
    const named = list?.split(",") ?? [...definition.matchAll(/'([a-z_]+)'::text/g)].map((match) => match[1]!);
    expect(named.toSorted()).toEqual([...finals].toSorted());
  });
});

describe("migrations", () => {
  test("applying them again does nothing, also from two processes at once", async () => {
    expect(await Promise.all([migrate(database.pool), migrate(database.pool)])).toEqual([[], []]);
    expect(await isMigrated(database.pool)).toBe(true);
  });

  test("the ledger is the one Prisma keeps: every migration with its file's checksum", async () => {
    const { rows } = await database.pool.query<{ name: string; checksum: string }>(
      "select migration_name as name, checksum from sluice._prisma_migrations order by 1",
    );
    expect(rows).toEqual((await readMigrations()).map(({ name, checksum }) => ({ name, checksum })));
  });

  test("a migration that was edited after it was applied is refused", async () => {
    await database.pool.query("update sluice._prisma_migrations set checksum = 'other'");
    await expect(migrate(database.pool)).rejects.toThrow("must never change");
  });
});

type Column = { name: string; type: string; nullable: boolean };

const POSTGRES_TYPE: Record<string, string> = {
  String: "text",
  Int: "int4",
  BigInt: "int8",
  Boolean: "bool",
  Json: "jsonb",
  Bytes: "bytea",
  "String[]": "_text",
  "Int[]": "_int4",
  "DateTime@db.Timestamptz(6)": "timestamptz",
  "DateTime@db.Date": "date",
  "String@db.Uuid": "uuid",
};

/** The models of schema.prisma, read as text: Prisma has no offline way to compare a database. */
async function prismaTables(): Promise<Record<string, Column[]>> {
  const schema = await readFile(new URL("../../prisma/schema.prisma", import.meta.url), "utf8");
  const models = [...schema.matchAll(/^model \w+ \{\n([\s\S]*?)^\}/gm)].map((match) => match[1]!);
  return Object.fromEntries(
    models.map((body) => {
      const columns = body.split("\n").flatMap((line): Column[] => {
        const field = /^ {2}(\w+)\s+(\w+(?:\[\])?)(\?)?(.*)$/.exec(line);
        if (!field) return [];
        const [, name, base, optional, rest] = field;
        const native = /@db\.[A-Za-z]+(\(\d+\))?/.exec(rest!)?.[0] ?? "";
        const type = POSTGRES_TYPE[base! + native];
        // A relation: no column of its own.
        if (type === undefined) return [];
        return [{ name: /@map\("(\w+)"\)/.exec(rest!)?.[1] ?? name!, type, nullable: optional === "?" }];
      });
      return [/@@map\("(\w+)"\)/.exec(body)![1]!, columns];
    }),
  );
}

test("the Prisma schema and the migrated database agree: tables, columns, types, nullability", async () => {
  const { rows } = await database.pool.query<Column & { table: string }>(
    `select c.relname as table, a.attname as name, t.typname as type, not a.attnotnull as nullable
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       join pg_type d on d.oid = a.atttypid
       -- Of a domain its base.
       join pg_type t on t.oid = case d.typtype when 'd' then d.typbasetype else d.oid end
      where c.relnamespace = 'sluice'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
        and c.relname <> '_prisma_migrations'`,
  );
  const byName = (a: Column, b: Column): number => a.name.localeCompare(b.name);
  const inDatabase = Object.fromEntries(
    [...Map.groupBy(rows, (row) => row.table)].map(([table, columns]) => [
      table,
      columns.map(({ name, type, nullable }) => ({ name, type, nullable })).toSorted(byName),
    ]),
  );
  const inPrisma = Object.fromEntries(
    Object.entries(await prismaTables()).map(([table, columns]) => [table, columns.toSorted(byName)]),
  );
  expect(inDatabase).toEqual(inPrisma);
});
