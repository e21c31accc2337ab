import { buildGraph, topologicalOrder } from "#lib/domain/graph.ts";
import { MAX_TASKS_PER_DAG } from "#lib/domain/ids.ts";
import type { CountChange, ParentEnds, RewriteGraph, RunTask, RunTotals, StateChange } from "#lib/domain/rewrite.ts";
import type { TriggerRule } from "#lib/domain/model/task.ts";
import type { RunState, TaskState } from "#lib/domain/states.ts";
import type { Db, Tx } from "./pool.ts";

/** A run taken for oneself: nobody else moves its tasks until the transaction ends. */
export type LockedRun = { id: string; dagId: string; versionId: string; backfillId: string | null; state: RunState };

/** FOR UPDATE waits for finishers, which hold FOR KEY SHARE, and keeps new ones out. */
export async function lockRun(tx: Tx, runId: string, waits = true): Promise<LockedRun | undefined> {
  const { rows } = await tx.query<LockedRun>({
    name: waits ? "lock-run" : "lock-run-unless-locked",
    text: `select id, dag_id as "dagId", version_id as "versionId", backfill_id as "backfillId", state
             from sluice.dag_run where id = $1 for update${waits ? "" : " skip locked"}`,
    values: [runId],
  });
  return rows[0];
}

/**
 * Before the run, as its start and its pause take them: with the run its backfill may begin again. `ifEnded`: only that of a run that has
 * ended, since thousands of open ones are cancelled at once, which changes nothing of their backfill before its end.
 */
export async function lockBackfillOf(tx: Tx, runId: string, ifEnded: boolean): Promise<void> {
  await tx.query({
    name: "lock-backfill-of",
    text: `select from sluice.backfill
            where id = (select backfill_id from sluice.dag_run where id = $1 and (ended_at is not null or not $2)) for no key update`,
    values: [runId, ifEnded],
  });
}

/** The run of `p` has an action that settles it at its end, which a pause or a resume does not. */
const HAS_ACTION =
  "exists (select from sluice.run_action a where a.run_id = p.run_id and a.kind not in ('pause', 'resume'))";

/** Whether a locked run is to be settled, which is left to a person's action on it while there is one. */
export async function isUnsettled(tx: Tx, runId: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "is-unsettled",
    text: `select from sluice.run_progress p
            where p.run_id = $1 and p.unsettled and not ${HAS_ACTION}`,
    values: [runId],
  });
  return rowCount === 1;
}

/** A task of a run that an action may write, with what it needs to know besides. */
export type ReadTask = RunTask & {
  /** An attempt of it began, or a person marked it, since it was last cleared. */
  hasBegun: boolean;
};

/** The tasks of a locked run that its version has, by ordinal, which is their slot. */
export async function readTasks(tx: Tx, runId: string): Promise<ReadTask[]> {
  type Row = { state: TaskState; openParents: number; hasBegun: boolean };
  const { rows } = await tx.query<Row>({
    name: "read-tasks",
    text: `
      select t.state, t.open_parents as "openParents", t.started_at is not null as "hasBegun"
        from sluice.task_instance t
       where t.id >= $1::bigint << 20 and t.id < ($1::bigint << 20) + $2 order by t.id`,
    values: [runId, MAX_TASKS_PER_DAG],
  });
  const ends = await tx.query<ParentEnds & { ord: number }>({
    name: "read-parent-ends",
    text: `select (task_instance_id & 1048575)::int as ord, failed, upstream_failed as "upstreamFailed", skipped
             from sluice.parent_ends where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20`,
    values: [runId],
  });
  const endsOf = new Map(ends.rows.map(({ ord, ...each }) => [ord, each]));
  return rows.map((row, ord) => ({ ...row, ends: endsOf.get(ord) ?? null }));
}

/** What the rules need to know of a version's tasks, by ordinal. */
export type VersionGraph = RewriteGraph & {
  readonly ids: readonly string[];
  readonly children: readonly (readonly number[])[];
  /** Somebody is called at an end of a run or of a task. */
  readonly calls: boolean;
};

export async function readVersionGraph(db: Db, versionId: string): Promise<VersionGraph> {
  type Row = { id: string; rule: TriggerRule | null; gate: number; dependsOn: string[] | null; calls: boolean };
  const { rows } = await db.query<Row>(
    `select t.task_id as id, t.spec ->> 'triggerRule' as rule, t.gate, t.spec -> 'dependsOn' as "dependsOn",
            v.task_calls or v.calls <> '{}' as calls
       from sluice.dag_task t join sluice.dag_version v on v.id = t.version_id
      where t.version_id = $1 order by t.ord`,
    [versionId],
  );
  const graph = buildGraph(rows.map(({ id, dependsOn }) => ({ id, dependsOn: dependsOn ?? [] })));
  return {
    ...graph,
    order: topologicalOrder(graph),
    rules: rows.map((row) => row.rule ?? "all_success"),
    gates: rows.map((row) => row.gate),
    isLeaf: graph.children.map((children) => children.length === 0),
    calls: rows[0]?.calls ?? false,
  };
}

/** Who moves tasks and why, and which of them is a person's mark. */
export type MovedBy = { actor: string; reason: string | null; marked?: number | undefined };

/**
 * Gives tasks of a locked run other states. An attempt of such a task that is live or between two looks ends
 * `cancelled`, and its worker is fenced; a task that may run again forgets its times, failures and output.
 */
export async function writeStates(
  tx: Tx,
  runId: string,
  changes: readonly StateChange[],
  { actor, reason, marked }: MovedBy,
): Promise<void> {
  const sorted = changes.toSorted((a, b) => a.ord - b.ord);
  // Apart from what follows: an admission that was under way may leave a live attempt that only a snapshot taken
  // after this lock sees.
  await tx.query({
    name: "lock-tasks",
    text: `select from sluice.task_instance where id = any (array(select $1::bigint << 20 | o from unnest($2::int[]) o))
            order by id for update`,
    values: [runId, changes.map((change) => change.ord)],
  });
  await tx.query({
    name: "write-states",
    text: `
      with ids as materialized (select array(select $1::bigint << 20 | o from unnest($2::int[]) o) as all),
      -- What is to be written is found by its place and not by a join: see "sets of ids" in CONTRIBUTING.
      lk as materialized (
        select t.id, t.state as before, t.attempts, ($3::sluice.task_state[])[p.place] as state, ($7::bool[])[p.place] as anew
          from sluice.task_instance t, lateral (select width_bucket((t.id & 1048575)::int, $2::int[]) as place) p
         where t.id = any ((select ids.all from ids)::bigint[])),
      -- In the order in which heartbeats take them, which lock nothing else.
      live as materialized (
        select a.task_instance_id as id from sluice.live_attempt a
         where a.task_instance_id = any ((select ids.all from ids)::bigint[]) order by 1 for update),
      gone as (
        delete from sluice.live_attempt a where a.task_instance_id = any (array(select id from live)) returning a.*),
      looked as (
        delete from sluice.deferral d where d.task_instance_id = any ((select ids.all from ids)::bigint[]) returning d.*),
      history as (
        insert into sluice.attempt
          (task_instance_id, number, id, state, reason, worker_id, worker_version, ready_at, queued_at, started_at,
           peak_memory, cpu_ms, deferrals)
        select task_instance_id, coalesce(d.number, a.number), coalesce(d.id, a.id), 'cancelled', coalesce($6, 'CANCELLED'),
               coalesce(a.worker_id, d.worker_id), a.worker_version, coalesce(d.ready_at, a.ready_at),
               coalesce(d.queued_at, a.queued_at), coalesce(d.started_at, a.started_at),
               d.peak_memory, d.cpu_ms, d.times
          from gone a full join looked d using (task_instance_id)),
      moved as (
        update sluice.task_instance t
           set held = (select is_held from sluice.run_pause where run_id = $1::bigint),
               not_before = null,
               deferred_id = null,
               waits_apart = false,
               (state, open_parents, ready_at, started_at, failures, lost_attempts, ended_at) = (
                 select c.state,
                        case when c.anew or c.state = 'waiting' then c.open_parents else t.open_parents end,
                        case c.state when 'ready' then sluice.clock() when 'waiting' then null else t.ready_at end,
                        -- A mark counts as a beginning: what a person has decided is not decided anew because of another mark.
                        case when t.id = $1::bigint << 20 | $8::int then coalesce(t.started_at, sluice.clock())
                             when c.anew or c.state in ('ready', 'waiting') then null
                             else t.started_at end,
                        case when c.anew then 0 else t.failures end,
                        case when c.anew then 0 else t.lost_attempts end,
                        case when c.state in ('success', 'failed', 'skipped', 'upstream_failed', 'cancelled')
                             then sluice.clock() end
                   from (select width_bucket((t.id & 1048575)::int, $2::int[]) as place) p,
                lateral (select ($3::sluice.task_state[])[p.place] as state, ($4::int[])[p.place] as open_parents,
                                ($7::bool[])[p.place] as anew) c)
         where t.id = any ((select ids.all from ids)::bigint[])
        returning t.id),
      x as (
        delete from sluice.xcom
         -- The range of the run, by which its partition is found; an array finds none.
         where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
           and task_instance_id = any (array(select id from lk where anew))),
      -- Only what waits has such a row; one that waits again gets it with its counts.
      ends as (
        delete from sluice.parent_ends
         where task_instance_id = any (array(select id from lk where before = 'waiting' or lk.state = 'waiting'))),
      dead as (
        update sluice.dead_letter set dismissed_at = sluice.clock(), dismissed_by = $5
         -- By ids and not by a join, which would read all open letters of everybody. Only a failed task has one.
         where task_instance_id >= $1::bigint << 20 and task_instance_id < ($1::bigint + 1) << 20
           and task_instance_id = any (array(select id from lk where before = 'failed')) and dismissed_at is null),
      call as (
        insert into sluice.callback (run_id, task_instance_id, attempt, event)
        select $1::bigint, c.id, nullif(c.attempts, 0), c.state
          from lk c
          join sluice.dag_run r on r.id = $1::bigint
         -- offset 0 keeps this a search by the whole key: among many small DAGs the planner expects a version to have few
         -- tasks, and would compare each of 20,000 with each.
         cross join lateral (select t.calls from sluice.dag_task t
                              where t.version_id = r.version_id and t.ord = (c.id & 1048575)::int offset 0) t
         where c.state in ('success', 'failed') and c.before <> c.state and c.state = any (t.calls))
      insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, reason, actor)
      select $1::bigint, c.id, nullif(c.attempts, 0), c.before, c.state, $6, $5
        from lk c where c.before <> c.state`,
    values: [
      runId,
      sorted.map((change) => change.ord),
      sorted.map((change) => change.to),
      sorted.map((change) => change.openParents),
      actor,
      reason,
      sorted.map((change) => change.isAnew),
      marked ?? null,
    ],
  });
}

/** Gives waiting tasks of a locked run the counts of their parents. */
export async function writeCounts(tx: Tx, runId: string, counts: readonly CountChange[]): Promise<void> {
  const sorted = counts.toSorted((a, b) => a.ord - b.ord);
  await tx.query({
    name: "write-counts",
    text: `
      with c as materialized (
        select $1::bigint << 20 | ord as id, open_parents, failed, upstream_failed, skipped
          from unnest($2::int[], $3::int[], $4::int[], $5::int[], $6::int[]) c(ord, open_parents, failed, upstream_failed, skipped)),
      u as (
        update sluice.task_instance t set open_parents = ($3::int[])[width_bucket((t.id & 1048575)::int, $2::int[])]
         where t.id = any (array(select id from c))
           and t.open_parents <> ($3::int[])[width_bucket((t.id & 1048575)::int, $2::int[])]),
      gone as (
        delete from sluice.parent_ends
         where task_instance_id = any (array(select id from c where failed + upstream_failed + skipped = 0)))
      insert into sluice.parent_ends (task_instance_id, failed, upstream_failed, skipped)
      select id, failed, upstream_failed, skipped from c where failed + upstream_failed + skipped > 0
      on conflict (task_instance_id) do update
        set failed = excluded.failed, upstream_failed = excluded.upstream_failed, skipped = excluded.skipped`,
    values: [
      runId,
      sorted.map(({ ord }) => ord),
      sorted.map(({ openParents }) => openParents),
      sorted.map(({ ends }) => ends.failed),
      sorted.map(({ ends }) => ends.upstreamFailed),
      sorted.map(({ ends }) => ends.skipped),
    ],
  });
}

/**
 * What a locked run's tasks add up to, counted anew by the caller; `unsettled` when not all of them are decided yet. An action
 * that goes on counts as one more open task: the end of the last one must not close the run under it.
 */
export async function writeTotals(
  tx: Tx,
  runId: string,
  totals: RunTotals & { unsettled: boolean; isActing: boolean },
): Promise<void> {
  await tx.query({
    name: "write-totals",
    text: "update sluice.run_progress set open = $2, failed_leaves = $3, unsettled = $4 where run_id = $1",
    values: [runId, totals.open + (totals.isActing ? 1 : 0), totals.failedLeaves, totals.unsettled],
  });
}

/** Another state for a locked run, with its event. */
export async function writeRunState(
  tx: Tx,
  run: LockedRun,
  to: RunState,
  actor: string,
  reason: string | null,
): Promise<void> {
  await tx.query({
    name: "write-run-state",
    text: `
      with moved as (
        update sluice.dag_run
           set state = $2::text, ended_at = case when $2 in ('success', 'failed', 'cancelled') then sluice.clock() end
         where id = $1
        returning id, version_id),
      call as (
        insert into sluice.callback (run_id, event)
        select m.id, $2 from moved m join sluice.dag_version v on v.id = m.version_id where $2 = any (v.calls))
      insert into sluice.event (run_id, from_state, to_state, reason, actor) values ($1, $3, $2, $5, $4)`,
    values: [run.id, to, run.state, actor, reason],
  });
}

/**
 * Runs whose settling was not done, because the process that owed it has died; without those in quarantine, and those that an
 * action of a person settles. In no order, so that of more than `limit` none keeps others from being settled.
 */
export async function unsettledRuns(db: Db, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "unsettled-runs",
    text: `
      select p.run_id as id from sluice.run_progress p
       where p.unsettled and not ${HAS_ACTION}
         and not exists (select from sluice.quarantine q where q.duty = 'settle' and q.key = p.run_id::text
                            and q.retry_at > (select sluice.clock()))
       order by random() limit $1`,
    values: [limit],
  });
  return rows.map((row) => row.id);
}
