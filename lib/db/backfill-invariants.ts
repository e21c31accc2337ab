import type { Invariant } from "./invariants.ts";

/** What must hold of backfills and their runs at every instant. */
export const BACKFILL_CHECKS: readonly (Invariant & { sql: string })[] = [
  {
    id: "backfill-limits",
    says: "of a backfill no more runs go on than it allows",
    sql: `
      select b.id::text as backfill, b.max_active as "maxActive", count(*)::int as going
        from sluice.backfill b join sluice.dag_run r on r.backfill_id = b.id and r.state = 'running'
       group by b.id having count(*) > b.max_active`,
  },
  {
    id: "backfill-ends",
    says: "a backfill that has ended has no run that has not",
    sql: `
      select r.backfill_id::text as backfill, r.id::text as run, r.state
        from sluice.dag_run r join sluice.backfill b on b.id = r.backfill_id
       where r.state in ('queued', 'running') and r.backfill_id is not null and b.ended_at is not null`,
  },
  {
    id: "backfill-cancels",
    says: "of a backfill that is being cancelled nothing goes on that has not been asked to end",
    // A start takes the backfill's lock, under which a cancel asks what goes on: what has not been asked was started later.
    sql: `
      select b.id::text as backfill, r.id::text as run
        from sluice.backfill b join sluice.dag_run r on r.backfill_id = b.id and r.state = 'running'
       where b.state = 'cancelling'
         and not exists (select from sluice.run_action a where a.run_id = r.id and a.kind = 'cancel')`,
  },
  {
    id: "backfill-dates",
    says: "each date of a backfill that has never ended has a run",
    // Of one that has ended, retention may have deleted some.
    sql: `
      select b.id::text as backfill, b.slices, count(distinct (r.logical_date, r.schedule_id))::int as counted
        from sluice.backfill b left join sluice.dag_run r on r.backfill_id = b.id
       where b.ended_at is null
         and not exists (select from sluice.backfill_event e
                          where e.backfill_id = b.id and e.to_state in ('success', 'failed', 'cancelled'))
       group by b.id having b.slices <> count(distinct (r.logical_date, r.schedule_id))`,
  },
  {
    id: "backfill-outcomes",
    says: "a backfill that has ended says how its dates did, unless it was cancelled",
    // While all of its runs are there, which are kept for a day at least.
    sql: `
      select b.id::text as backfill, b.state, d.becomes
        from sluice.backfill b
        cross join lateral (
          select count(*) as slices,
                 case when bool_or(s.state = 'failed') then 'failed' when bool_or(s.state = 'cancelled') then 'cancelled'
                      else 'success' end as becomes
            from sluice.backfill_slice s where s.backfill_id = b.id) d
        cross join lateral (
          select e.from_state from sluice.backfill_event e where e.backfill_id = b.id order by e.id desc limit 1) l
       where b.ended_at > (select sluice.clock()) - interval '1 day' and d.slices = b.slices and b.state <> d.becomes
         and l.from_state is distinct from 'cancelling'`,
  },
];
