import type pg from "pg";
import { z } from "zod";

/**
 * A count of wrong passwords: of an account, an address or a browser. The first `free` of them cost nothing; each further one has
 * the next try wait twice as long as the one before, up to `maxSeconds`.
 */
export type FailureCount = { subject: string; free: number; maxSeconds: number };

/** A count is forgotten after so much time without a try. */
const FORGOTTEN_AFTER = "15 min";

const Counted = z.object({ waitSeconds: z.number().int().nullable(), counted: z.number().int() });

/**
 * Counts a try for each subject, unless one of them has to wait: then nothing is written, and the seconds until a try is possible are
 * returned. A try counts before its password is checked, so that guesses at once are as slow as guesses in turn. Only the database's
 * clock decides.
 */
export async function countSignInTry(pool: pg.Pool, counts: readonly FailureCount[]): Promise<number | undefined> {
  const subjects = counts.map(({ subject }) => subject);
  const { rows } = await pool.query({
    name: "count-sign-in-try",
    text: `with given as materialized (select * from unnest($1::text[], $2::int[], $3::int[]) g(subject, free, most)),
     late as materialized (
       select max(f.next_try_at) as until from sluice.sign_in_failure f
        where f.subject = any ($1) and f.next_try_at > sluice.clock()),
     counted as (
       insert into sluice.sign_in_failure as f (subject, failures, next_try_at)
       select g.subject, 1, sluice.clock() from given g where (select until from late) is null order by g.subject
       on conflict (subject) do update set (failures, next_try_at) = (
         select n.failures, sluice.clock() + interval '1 s' *
                case when n.failures <= g.free then 0 else least(g.most, 2 ^ least(n.failures - g.free - 1, 10)) end
           from given g, lateral (select case when f.next_try_at < sluice.clock() - interval '${FORGOTTEN_AFTER}' then 1
                                              else least(f.failures + 1, 1000000) end) n(failures)
          where g.subject = excluded.subject)
        where f.next_try_at <= sluice.clock()
       returning 1)
     select ceil(extract(epoch from (select until from late) - sluice.clock()))::int as "waitSeconds",
            (select count(*)::int from counted) as counted`,
    values: [subjects, counts.map(({ free }) => free), counts.map(({ maxSeconds }) => maxSeconds)],
  });
  const { waitSeconds, counted } = Counted.parse(rows[0]);
  if (waitSeconds !== null) return Math.max(1, waitSeconds);
  // Another try of the same moment has closed one of them since this statement began.
  return counted === counts.length ? undefined : 1;
}

/** After a success: forgets the counts of `forgotten`, and takes this one try back from `takenBack`. */
export async function forgiveSignInTry(
  pool: pg.Pool,
  { forgotten, takenBack }: { forgotten: readonly string[]; takenBack: readonly string[] },
): Promise<void> {
  await pool.query({
    name: "forgive-sign-in-try",
    // Locked in the order in which a try counts; of two that lock in different orders one fails.
    text: `with locked as materialized (
       select subject from sluice.sign_in_failure where subject = any ($1) or subject = any ($2) order by subject for update),
     gone as (delete from sluice.sign_in_failure where subject = any ($1) and (select count(*) from locked) > 0)
     update sluice.sign_in_failure set failures = greatest(failures - 1, 0), next_try_at = sluice.clock()
      where subject = any ($2) and (select count(*) from locked) > 0`,
    values: [forgotten, takenBack],
  });
}

const SLICE_ROWS = 10_000;

/** Deletes the counts that are forgotten. Whoever asks without a password makes rows; so the scheduler calls this again and again. */
export async function deleteForgottenFailures(pool: pg.Pool, sliceRows = SLICE_ROWS): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query({
      name: "delete-forgotten-failures",
      // The time is asked for once: compared with a volatile function, no row would be found by the index.
      text: `delete from sluice.sign_in_failure where subject = any (array(
         select subject from sluice.sign_in_failure
          where next_try_at < (select sluice.clock() - interval '${FORGOTTEN_AFTER}')
          order by next_try_at limit $1 for update skip locked))`,
      values: [sliceRows],
    });
    if ((rowCount ?? 0) < sliceRows) return;
  }
}
