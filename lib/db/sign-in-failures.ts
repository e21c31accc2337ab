import type pg from "pg";
import { z } from "zod";

const Counts = z.array(z.object({ subject: z.string(), failures: z.number().int() }));

/** A try makes two rows and removes more than that, so anonymous callers cannot make the table grow. */
const GONE_AT_ONCE = 20;

/**
 * Counts one try for every subject and answers the totals of their running windows. A try counts before its
 * password is checked: parallel guesses cannot all slip in under the limit.
 */
export async function countSignInTry(pool: pg.Pool, subjects: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await pool.query(
    `with gone as (
       delete from sluice.sign_in_failure where subject in (
         select subject from sluice.sign_in_failure
          where window_ends_at < sluice.clock() - interval '1 min' and subject <> all ($1) order by window_ends_at limit ${GONE_AT_ONCE} for update skip locked))
     insert into sluice.sign_in_failure as f (subject, failures, window_ends_at)
     select subject, 1, sluice.clock() + interval '15 min' from unnest($1::text[]) subject order by subject
     on conflict (subject) do update set
       failures = case when f.window_ends_at <= sluice.clock() then 1 else least(f.failures + 1, 1000000) end,
       window_ends_at = case when f.window_ends_at <= sluice.clock() then excluded.window_ends_at else f.window_ends_at end
     returning subject, failures`,
    [subjects],
  );
  return new Map(Counts.parse(rows).map((row) => [row.subject, row.failures]));
}

/** After a success: forgets the name's failures and takes this try back from the address. */
export async function forgetSignInTry(pool: pg.Pool, name: string, address: string): Promise<void> {
  await pool.query("update sluice.sign_in_failure set failures = greatest(failures - 1, 0) where subject = $1", [
    address,
  ]);
  await pool.query("delete from sluice.sign_in_failure where subject = $1", [name]);
}
