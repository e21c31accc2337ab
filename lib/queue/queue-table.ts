import type pg from "pg";
import { inTx, retried } from "#lib/db/tx.ts";

/**
 * What each column of pg-boss's `queue` may hold that pg-boss writes into its statements as text, and runs in the processes of
 * other roles: names of its own alphabet, and what it writes itself for queues as ours are.
 */
const RULES = {
  sluice_plain_name: "name ~ '^[A-Za-z0-9_./-]+$'",
  sluice_known_policy: "policy in ('standard', 'short')",
  sluice_common_table: "table_name = 'job_common' and not partition",
  sluice_no_dead_letter: "dead_letter is null",
} as const;

/** Not until rows that break a rule are gone; no queue of ours does. Jobs that such a queue has hold it. */
const REMOVE_STRANGERS = `
  with strangers as materialized (
    select name from sluice_boss.queue where not (${Object.values(RULES)
      .map((rule) => `(${rule})`)
      .join(" and ")})),
  jobs as (delete from sluice_boss.job
            where name in (select name from strangers) or dead_letter in (select name from strangers))
  delete from sluice_boss.queue where name in (select name from strangers)`;

/**
 * Has the database refuse a queue that holds other text. `pool` acts as the owner of pg-boss's tables. Writes nothing where the
 * rules are there, or pg-boss is not.
 */
export async function guardQueueTable(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(
    `select name from unnest($1::text[]) r(name)
      where to_regclass('sluice_boss.queue') is not null
        and not exists (select from pg_constraint c
                         where c.conrelid = to_regclass('sluice_boss.queue') and c.conname = r.name and c.convalidated)`,
    [Object.keys(RULES)],
  );
  if (rows.length === 0) return;
  const added = rows.map(({ name }) => `add constraint ${name} check (${RULES[name as keyof typeof RULES]})`);
  // Processes that live use the table in short transactions, and wait behind this for one try at most.
  await retried(() =>
    inTx(pool, async (tx) => {
      await tx.query("set local lock_timeout = '300ms'");
      await tx.query("lock table sluice_boss.queue in access exclusive mode");
      await tx.query(REMOVE_STRANGERS);
      // Foreign keys that are checked at the end of a transaction keep the table from being altered.
      await tx.query("set constraints all immediate");
      await tx.query(`alter table sluice_boss.queue ${added.join(", ")}`);
    }),
  );
}
