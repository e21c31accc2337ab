import pg from "pg";
import { expect, test } from "vitest";
import { testDatabase } from "#lib/testing/database.ts";
import { ownRoles } from "#lib/testing/roles.ts";
import { createJobQueue } from "./job-queue.ts";
import { guardQueueTable } from "./queue-table.ts";

const database = testDatabase();
const { urlAs } = ownRoles(database);

const COLUMNS = {
  name: "'bell/new'",
  policy: "'short'",
  dead_letter: "null",
  partition: "false",
  table_name: "'job_common'",
};

/** Inserts a queue that is like one of ours but for what is given, as SQL. */
function insertQueue(changed: Record<string, string>): string {
  const row: Record<string, string> = { ...COLUMNS, ...changed };
  return `
    insert into sluice_boss.queue (${Object.keys(row).join(", ")}, retry_limit, retry_delay, retry_backoff,
                                   expire_seconds, retention_seconds, deletion_seconds)
    values (${Object.values(row).join(", ")}, 0, 0, false, 900, 900, 60)`;
}

const ATTACK = `job_common (name) select sluice.clock(); drop table x; --' "`;

test("a worker can put into no column of queue what pg-boss would run as text in another process", async () => {
  const worker = new pg.Client({ connectionString: urlAs("worker") });
  await worker.connect();
  const refused = { code: "23514" };
  try {
    await worker.query("begin");
    // One like ours is taken: it is the text that is refused.
    await worker.query(insertQueue({}));
    await worker.query("rollback");
    const { rows } = await database.pool.query<{ name: string }>(
      `select attname as name from pg_attribute
        where attrelid = 'sluice_boss.queue'::regclass and attnum > 0 and atttypid in ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype)`,
    );
    expect(rows.map(({ name }) => name).toSorted()).toEqual(["dead_letter", "name", "policy", "table_name"]);
    for (const { name } of rows)
      await expect(worker.query(insertQueue({ [name]: pg.escapeLiteral(ATTACK) })), name).rejects.toMatchObject(
        refused,
      );
    const names = ["", "a b", "a'b", "a\nb", "bell/a\n", "ä", 'a"b', "a;b", "a$1"];
    for (const name of names)
      await expect(worker.query(insertQueue({ name: pg.escapeLiteral(name) })), name).rejects.toMatchObject(refused);
    for (const table of ["job", "job_common2", "JOB_COMMON"])
      await expect(worker.query(insertQueue({ table_name: `'${table}'` })), table).rejects.toMatchObject(refused);
    await expect(worker.query(insertQueue({ partition: "true" }))).rejects.toMatchObject(refused);
    await expect(worker.query(insertQueue({ dead_letter: "'callbacks'" }))).rejects.toMatchObject(refused);
  } finally {
    await worker.end();
  }
});

test("rows from before that say something else go with their jobs, before pg-boss sees them, and the rest stays", async () => {
  const { pool } = database;
  const rules =
    "select conname as name from pg_constraint where conrelid = 'sluice_boss.queue'::regclass and conname like 'sluice%'";
  const before = (await pool.query<{ name: string }>(rules)).rows;
  expect(before).toHaveLength(4);
  for (const { name } of before) await pool.query(`alter table sluice_boss.queue drop constraint ${name}`);
  await pool.query(insertQueue({ table_name: pg.escapeLiteral(ATTACK), partition: "true" }));
  await pool.query(insertQueue({ name: "'bell/bad x'" }));
  await pool.query(insertQueue({ name: "'bell/late'", dead_letter: "'bell/bad x'" }));
  await pool.query(insertQueue({ name: "'bell/plain'" }));
  await pool.query(
    "insert into sluice_boss.job (name, dead_letter) values ('bell/bad x', null), ('bell/plain', 'bell/bad x'), ('bell/plain', null)",
  );
  await createJobQueue(pool, () => undefined).install();
  expect((await pool.query(rules)).rows).toHaveLength(4);
  const queues = await pool.query<{ name: string }>("select name from sluice_boss.queue order by 1");
  expect(queues.rows.map(({ name }) => name)).toEqual(["bell/plain", "callbacks"]);
  expect((await pool.query("select name, dead_letter from sluice_boss.job")).rows).toEqual([
    { name: "bell/plain", dead_letter: null },
  ]);
});

test("nothing is locked where the rules are there already", async () => {
  const { pool } = database;
  const holder = await pool.connect();
  try {
    await holder.query("begin");
    await holder.query("lock table sluice_boss.queue in row exclusive mode");
    await guardQueueTable(pool);
  } finally {
    await holder.query("rollback");
    holder.release();
  }
});
