import type pg from "pg";

/** Tables whose rows come with work and go with it, and the first of each set of partitions. */
const COME_AND_GO = [
  "dag_run",
  "run_key",
  "task_instance",
  "live_attempt",
  "deferral",
  "parent_ends",
  "run_progress",
  "run_action",
  "dead_letter",
  "callback",
  "xcom",
  "attempt",
  "event",
  "task_log",
  "log_loss",
];

/**
 * Gives these tables the statistics that a vacuum leaves which found so many rows in the pages that are full by now: statistics say
 * what was there when they were gathered, which may be just before a thousand tasks begin.
 */
export async function forgetWhatComesAndGoes(pool: pg.Pool, rows: number): Promise<void> {
  const those = `from pg_class c where c.relnamespace = 'sluice'::regnamespace and exists (
    select from unnest($1::text[]) name where c.relname ~ ('^' || name || '(_g[0-9]+|_[a-z_]+_idx|_pkey)?$'))`;
  await pool.query(
    `update pg_class set reltuples = $2, relpages = pg_relation_size(oid) / 8192
      where relkind in ('r', 'i') and oid in (select c.oid ${those})`,
    [COME_AND_GO, rows],
  );
  await pool.query(`delete from pg_statistic where starelid in (select c.oid ${those})`, [COME_AND_GO]);
}
