import type { Db } from "./pool.ts";

/** The duties that leave out single rows which break them, and by what those are named. */
export const QUARANTINE_KEYS = {
  fire: "schedule",
  admit: "task instance",
  waits: "task class",
  due: "task instance",
  sweep: "task instance",
  settle: "run",
  actions: "run",
  runs: "DAG",
  backfills: "backfill",
  callbacks: "callback",
} as const;
export type QuarantinedDuty = keyof typeof QUARANTINE_KEYS;

export type Quarantined = {
  duty: QuarantinedDuty;
  key: string;
  error: string;
  failures: number;
  since: Date;
  /** When the duty takes it along again. */
  retryAt: Date;
};

/** What a duty has in quarantine, by key: whether it is still to be left out, or is tried again. */
export async function readQuarantine(db: Db, duty: QuarantinedDuty): Promise<Map<string, { isHeld: boolean }>> {
  const { rows } = await db.query<{ key: string; isHeld: boolean }>({
    name: "read-quarantine",
    text: `select key, retry_at > (select sluice.clock()) as "isHeld" from sluice.quarantine where duty = $1`,
    values: [duty],
  });
  return new Map(rows.map(({ key, isHeld }) => [key, { isHeld }]));
}

/** Leaves it out for a minute, and twice as long after each further failure, up to an hour. Answers whether it is new there. */
export async function putInQuarantine(
  db: Db,
  duty: QuarantinedDuty,
  key: string,
  error: string,
): Promise<{ isNew: boolean }> {
  const { rows } = await db.query<{ isNew: boolean }>({
    name: "put-in-quarantine",
    text: `
      insert into sluice.quarantine as q (duty, key, error, retry_at)
      values ($1, $2, $3, sluice.clock() + interval '1 minute')
      on conflict (duty, key) do update
        set error = excluded.error, failures = q.failures + 1,
            retry_at = sluice.clock() + least(interval '1 hour', interval '1 minute' * power(2, least(q.failures, 10)))
      returning failures = 1 as "isNew"`,
    values: [duty, key, error],
  });
  return rows[0]!;
}

/** Answers how many there were. */
export async function endQuarantine(db: Db, duty: QuarantinedDuty, keys: readonly string[]): Promise<number> {
  const { rowCount } = await db.query({
    name: "end-quarantine",
    text: "delete from sluice.quarantine where duty = $1 and key = any ($2)",
    values: [duty, keys],
  });
  return rowCount ?? 0;
}

/** Forgets tasks that are admitted or gone, and classes of which a regular pass has written the reason or that have none. */
export async function endQuarantineOfAdmitted(db: Db): Promise<void> {
  await db.query(
    `delete from sluice.quarantine q
      where q.retry_at <= (select sluice.clock())
        and (q.duty = 'waits'
             or q.duty = 'admit'
                and not exists (select from sluice.task_instance t where t.id = q.key::bigint and t.admissible))`,
  );
}

/** All of it, the longest there first. */
export async function listQuarantine(db: Db): Promise<Quarantined[]> {
  const { rows } = await db.query<Quarantined>(
    `select duty, key, error, failures, since, retry_at as "retryAt" from sluice.quarantine order by since, duty, key`,
  );
  return rows;
}

/** Has the duty take it along the next time. Answers how many there were. */
export async function retryQuarantined(db: Db, duty?: QuarantinedDuty, key?: string): Promise<number> {
  const { rowCount } = await db.query(
    `update sluice.quarantine set retry_at = sluice.clock()
      where ($1::text is null or duty = $1) and ($2::text is null or key = $2)`,
    [duty ?? null, key ?? null],
  );
  return rowCount ?? 0;
}
