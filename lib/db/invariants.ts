import { BACKFILL_MOVES, RUN_MOVES, TASK_MOVES } from "#lib/domain/states.ts";
import { BACKFILL_CHECKS } from "./backfill-invariants.ts";
import { LIMIT_CHECKS } from "./limit-invariants.ts";
import type { Db, Tx } from "./pool.ts";
import { WORKER_CHECKS } from "./worker-invariants.ts";

/**
 * What must hold at every instant, as SQL that answers what breaks it. Tests ask after each step of random runs;
 * `sluice doctor` asks a live database.
 */
export type Invariant = { id: string; says: string };

export type Finding = Invariant & {
  /** The rows that break it, at most `FINDINGS`. */
  broken: Record<string, unknown>[];
};

const FINDINGS = 20;

/** A claim or an admission may be under way when something is paused. */
const PAUSE_GRACE = "interval '5 seconds'";

/** Runs that are checked: those that go on or are to go again, and those that ended in the last day. */
const RECENT = `
  with recent as (
    select r.* from sluice.dag_run r
     where r.state = 'running' or r.state = 'queued' and r.started_at is not null
        or r.ended_at > (select sluice.clock()) - interval '1 day')`;

/** The state machine's moves as rows. */
const movesOf = (moves: Record<string, readonly string[]>): string =>
  Object.entries(moves)
    .flatMap(([from, all]) => all.map((to) => `('${from}', '${to}')`))
    .join(", ");

const CHECKS: readonly (Invariant & { sql: string })[] = [
  {
    id: "live-attempt",
    says: "a task is queued or running exactly when it has a live attempt in that state",
    sql: `${RECENT}
      select t.id::text as "taskInstance", t.state, a.state as "liveAttempt"
        from recent r join sluice.task_instance t on t.run_id = r.id and t.id >= r.id << 20 and t.id < (r.id + 1) << 20
        left join sluice.live_attempt a on a.task_instance_id = t.id
       where case when t.state in ('queued', 'running') then t.state end is distinct from a.state`,
  },
  {
    id: "attempt-numbers",
    says: "attempts are numbered without a gap, and a task knows how many it had",
    sql: `${RECENT}
      select t.id::text as "taskInstance", t.attempts, count(a.*)::int as known
        from recent r join sluice.task_instance t on t.run_id = r.id and t.id >= r.id << 20 and t.id < (r.id + 1) << 20
        left join (select task_instance_id, number from sluice.attempt
                   union all (select task_instance_id, number from sluice.live_attempt
                              union select task_instance_id, number from sluice.deferral)) a on a.task_instance_id = t.id
       group by t.id
      having t.attempts <> count(a.*) or t.attempts <> count(distinct a.number)
             or t.attempts <> coalesce(max(a.number), 0)`,
  },
  {
    id: "deferrals",
    says: 'an attempt that said "not yet" is that of its task, and goes on until it ends',
    sql: `${RECENT}
      select coalesce(t.id, d.task_instance_id)::text as "taskInstance", t.state, t.deferred_id as "goesOn", d.id as deferral,
             a.id as "liveAttempt"
        from (select t.* from recent r join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20
               where t.deferred_id is not null) t
        full join sluice.deferral d on d.task_instance_id = t.id
        left join sluice.live_attempt a on a.task_instance_id = d.task_instance_id
       where t.deferred_id is distinct from d.id or t.attempts <> d.number or a.id <> d.id or a.number <> d.number`,
  },
  {
    id: "open-tasks",
    says: "a run's count of open tasks is the number of its tasks that have not ended, and one more while an action is carried out",
    sql: `${RECENT}
      select r.id::text as run, p.open, count(*) filter (where t.ended_at is null)::int as counted
        from recent r join sluice.run_progress p on p.run_id = r.id
        join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20
       group by r.id, r.state, p.open
      having p.open - count(*) filter (where t.ended_at is null)
             not between 0 and (select count(*) from sluice.run_action a where a.run_id = r.id)`,
  },
  {
    id: "run-ends",
    says: "a run has ended exactly when none of its tasks is open, unless an action is carried out",
    sql: `${RECENT}
      select r.id::text as run, r.state, p.open from recent r join sluice.run_progress p on p.run_id = r.id
       where (r.ended_at is null) <> (p.open > 0)
         -- What had ended keeps its end until the last slice.
         and not (r.ended_at is not null and exists (select from sluice.run_action a where a.run_id = r.id))`,
  },
  {
    id: "failed-leaves",
    says: "a run's count of failed leaves is the number of its last tasks that ended badly",
    sql: `${RECENT}
      select r.id::text as run, p.failed_leaves as "failedLeaves",
             count(*) filter (where k.is_leaf and t.state in ('failed', 'upstream_failed', 'cancelled'))::int as counted
        from recent r join sluice.run_progress p on p.run_id = r.id
        join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20
        join sluice.dag_task k on k.version_id = r.version_id and k.ord = (t.id & 1048575)::int
       where not p.unsettled
       group by r.id, r.state, p.failed_leaves
      having p.failed_leaves <> count(*) filter (where k.is_leaf and t.state in ('failed', 'upstream_failed', 'cancelled'))`,
  },
  {
    id: "open-parents",
    says: "a waiting task counts the parents that have not succeeded",
    sql: `${RECENT}
      select t.id::text as "taskInstance", t.open_parents as "openParents", k.gate - n.successes as counted
        from recent r
        join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20 and t.state = 'waiting'
        join sluice.dag_task k on k.version_id = r.version_id and k.ord = (t.id & 1048575)::int
        cross join lateral (
          select count(*)::int as successes from unnest(k.parents) parent(ord)
            join sluice.task_instance p on p.id = r.id << 20 | parent.ord and p.state = 'success') n
       where t.open_parents <> k.gate - n.successes
         -- An action counts anew at its end.
         and not exists (select from sluice.run_action a where a.run_id = r.id)`,
  },
  {
    id: "parent-ends",
    says: "how parents ended other than well is counted for exactly the waiting tasks whose rule needs it",
    sql: `${RECENT}
      select coalesce(w.id, e.task_instance_id)::text as "taskInstance", e.failed, e.upstream_failed as "upstreamFailed", e.skipped
        from (select t.id, n.*
                from recent r
                join sluice.run_progress p on p.run_id = r.id and not p.unsettled
                join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20 and t.state = 'waiting'
                join sluice.dag_task k on k.version_id = r.version_id and k.ord = (t.id & 1048575)::int
                                      and k.trigger_rule <> 'all_success'
                cross join lateral (
                  select count(*) filter (where i.state in ('failed', 'cancelled'))::int as failed,
                         count(*) filter (where i.state = 'upstream_failed')::int as upstream_failed,
                         count(*) filter (where i.state = 'skipped')::int as skipped
                    from unnest(k.parents) parent(ord)
                    join sluice.task_instance i on i.id = r.id << 20 | parent.ord) n
               where not exists (select from sluice.run_action a where a.run_id = r.id)) w
        full join sluice.parent_ends e on e.task_instance_id = w.id
       where case when w.id is not null
               then (coalesce(e.failed, 0), coalesce(e.upstream_failed, 0), coalesce(e.skipped, 0))
                    <> (w.failed, w.upstream_failed, w.skipped)
               else not exists (select from sluice.task_instance t where t.id = e.task_instance_id and t.state = 'waiting') end`,
  },
  {
    id: "nothing-forgotten",
    says: "a task waits for a parent that has not ended, unless its run is to be settled",
    sql: `${RECENT}
      select t.id::text as "taskInstance", k.task_id as task
        from recent r
        join sluice.run_progress p on p.run_id = r.id and not p.unsettled
        join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20 and t.state = 'waiting'
        join sluice.dag_task k on k.version_id = r.version_id and k.ord = (t.id & 1048575)::int
       where not exists (
         select from unnest(k.parents) parent(ord)
           join sluice.task_instance p on p.id = r.id << 20 | parent.ord and p.ended_at is null)`,
  },
  {
    id: "leases",
    says: "no lease has run out for longer than a sweep takes",
    sql: `select a.task_instance_id::text as "taskInstance", a.worker_id as worker, a.lease_until as "leaseUntil"
            from sluice.live_attempt a
           where a.state = 'running' and a.lease_until < (select sluice.clock()) - interval '2 minutes'`,
  },
  {
    id: "deliveries",
    says: "nothing is handed over for long while a worker could take it",
    sql: `select a.task_instance_id::text as "taskInstance", w.queue, a.queued_at as "queuedAt"
            from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
           where a.state = 'queued' and a.queued_at < (select sluice.clock()) - interval '2 minutes'
             -- One that waits for a worker without another one of them.
             and not exists (select from sluice.task_instance t where t.id = a.task_instance_id and t.suspect)
             and exists (select from sluice.worker k where k.state = 'active' and w.queue = any (k.queues)
                           and k.lease_until > (select sluice.clock()))
             and not exists (select from sluice.live_attempt b join sluice.workload v on v.id = b.workload_id
                              where b.state = 'running' and (v.queue, v.slot_class) = (w.queue, w.slot_class))`,
  },
  {
    id: "held",
    says: "a task is held exactly while its run does not go on, or its run, its run's backfill or the DAG of a run without one is paused, unless an action of the run is carried out",
    sql: `${RECENT}
      select t.id::text as "taskInstance", t.held
        from recent r join sluice.run_pause p on p.run_id = r.id
        join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20
       where t.ended_at is null and t.held <> p.is_held
         -- Its last slice compares both; a cancel of a paused backfill lets no task go: it ends them.
         and not exists (select from sluice.run_action a where a.run_id = r.id)`,
  },
  {
    id: "paused-starts",
    says: "of what is paused no run begins, and no task is handed over or begun",
    // Of several pauses the first one counts. Who pauses does not wait for a claim that is under way.
    sql: `
      with paused as materialized (
        select r.id, least(r.paused_at, b.paused_at, case when r.backfill_id is null then d.paused_at end) as at,
               coalesce(r.paused_by, b.paused_by, d.paused_by) as "by", r.started_at
          from sluice.dag_run r
          join sluice.dag d on d.id = r.dag_id
          left join sluice.backfill b on b.id = r.backfill_id
         where r.state = 'running'
           and (r.paused_by is not null or b.paused_by is not null or r.backfill_id is null and d.paused_by is not null))
      select p.id::text as run, a.task_instance_id::text as "taskInstance", a.state, p."by", p.at as "pausedAt"
        from paused p
        join sluice.live_attempt a on a.task_instance_id >= p.id << 20 and a.task_instance_id < (p.id + 1) << 20
       where greatest(a.queued_at, a.started_at) > p.at + ${PAUSE_GRACE}
      union all
      select p.id::text, null, 'running', p."by", p.at from paused p where p.started_at > p.at + ${PAUSE_GRACE}`,
  },
  {
    id: "active-runs",
    says: "of a DAG no more runs go on than it allows, but for those that began before the limit was changed",
    sql: `
      with too_many as (
        select d.id, d.max_active_runs, d.runs_since, count(*)::int as going
          from sluice.dag d
          join sluice.dag_run r on r.dag_id = d.id and r.state = 'running' and (r.backfill_id is null or d.max_active_runs = 1)
         group by d.id having count(*) > d.max_active_runs)
      select x.id as dag, x.max_active_runs as "maxActiveRuns", x.going
        from too_many x
       where exists (select from sluice.dag_run r
                       join sluice.event e on e.run_id = r.id and e.task_instance_id is null
                                          and e.from_state = 'queued' and e.to_state = 'running'
                      where r.dag_id = x.id and r.state = 'running' and (r.backfill_id is null or x.max_active_runs = 1)
                        and e.at > x.runs_since)`,
  },
  {
    id: "references",
    says: "what is kept has all that it refers to: a run its version, a task its workload, a version its bundle",
    sql: `${RECENT}
      select 'run ' || r.id as "of", 'version' as missing
        from recent r join sluice.dag_run g on g.id = r.id
       where not exists (select from sluice.dag_version v where v.id = g.version_id)
      union all
      select 'task instance ' || t.id, 'workload'
        from recent r join sluice.task_instance t on t.id >= r.id << 20 and t.id < (r.id + 1) << 20
       where not exists (select from sluice.workload w where w.id = t.workload_id)
      union all
      select 'version ' || v.id, 'bundle' from sluice.dag_version v
       where v.bundle is not null and not exists (select from sluice.bundle b where b.hash = v.bundle)`,
  },
  {
    id: "moves",
    says: "what nobody asked for is a move of the state machine",
    sql: `${RECENT}
          select e.run_id::text as run, e.task_instance_id::text as "taskInstance", e.from_state as "from",
                 e.to_state as "to", e.actor, e.at
            from recent r join sluice.event e on e.run_id = r.id
           where e.from_state is not null
             and (e.actor in ('admission', 'settle', 'sweep', 'retry', 'limits') or e.actor like 'worker:%')
             and (e.from_state, e.to_state) not in (select * from (values ${movesOf(TASK_MOVES)}) m
                                                     where e.task_instance_id is not null
                                                    union all
                                                    select * from (values ${movesOf(RUN_MOVES)}) m
                                                     where e.task_instance_id is null)`,
  },
  {
    id: "schedule-time",
    says: "no schedule stands in the future, where a clock that was wrong has taken it (sluice schedules reset)",
    sql: `select s.dag_id as dag, s.position from sluice.schedule s
           where s.ord is not null and s.position > (select sluice.clock()) + interval '1 hour'`,
  },
  {
    id: "backfill-moves",
    says: "what nobody asked for is a move of a backfill's state machine",
    sql: `select e.backfill_id::text as backfill, e.from_state as "from", e.to_state as "to", e.actor, e.at
            from sluice.backfill_event e
           where e.from_state is not null and e.reason is null
             and (e.from_state, e.to_state) not in (values ${movesOf(BACKFILL_MOVES)})`,
  },
  {
    id: "dead-letters",
    says: "an open dead letter is a task that failed",
    sql: `select d.task_instance_id::text as "taskInstance", t.state
            from sluice.dead_letter d join sluice.task_instance t on t.id = d.task_instance_id
           where d.dismissed_at is null and t.state <> 'failed'`,
  },
  ...BACKFILL_CHECKS,
  ...LIMIT_CHECKS,
  ...WORKER_CHECKS,
];

/** A day of millions of tasks takes longer to check than any statement of the product may take. */
const CHECK_TIMEOUT = "10min";

/** Every invariant with what breaks it right now: all of one snapshot, taken by `tx`. */
export async function checkInvariants(tx: Tx): Promise<Finding[]> {
  await tx.query("set transaction isolation level repeatable read, read only");
  await tx.query(`set local statement_timeout = '${CHECK_TIMEOUT}'`);
  const findings: Finding[] = [];
  for (const { id, says, sql } of CHECKS) {
    findings.push({ id, says, broken: await query(tx, id, sql) });
  }
  return findings;
}

/** Prepared, because to plan them takes longer than to run them, and tests ask after each step. */
async function query(db: Db, id: string, sql: string): Promise<Record<string, unknown>[]> {
  const name = `invariant-${id}`;
  const { rows } = await db.query<Record<string, unknown>>({ name, text: `${sql} limit ${FINDINGS}` });
  return rows;
}
