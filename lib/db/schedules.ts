import type { ScheduleState, Decision } from "#lib/domain/schedule/decide.ts";
import {
  type DefinedSchedule,
  definitionText,
  type KnownSchedule,
  matchSchedules,
} from "#lib/domain/schedule/definition.ts";
import type { ParamSchema } from "#lib/domain/model/params.ts";
import type { Db, Tx } from "./pool.ts";

/**
 * Whoever changes what a schedule's runs depend on (its DAG's version, pause or file) takes the schedules first. So a run
 * is made either before the change is begun or after it is committed.
 */
export async function lockSchedules(tx: Tx, dagId: string): Promise<void> {
  await tx.query("select from sluice.schedule where dag_id = $1 order by id for update", [dagId]);
}

export async function lockTheseSchedules(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query("select from sluice.schedule where id = any ($1::bigint[]) order by id for update", [ids]);
}

/** Has schedulers look at the DAG's schedules at once; at none when it is paused or its file is missing. */
export async function lookAtSchedules(tx: Tx, dagId: string): Promise<void> {
  await tx.query(
    `update sluice.schedule s
        set revision = revision + 1,
            next_at = case when s.ord is not null and d.paused_by is null and not d.missing then sluice.clock() end
       from sluice.dag d where d.id = s.dag_id and d.id = $1`,
    [dagId],
  );
}

/** What is due between the beginning of the DAG's pause and now will not be made up for; nothing when it is not paused. */
export async function skipPause(tx: Tx, dagId: string): Promise<void> {
  await tx.query(
    `update sluice.schedule s set skip_from = least(s.skip_from, d.paused_at, sluice.clock()), skip_to = sluice.clock()
       from sluice.dag d where d.id = s.dag_id and d.id = $1 and d.paused_at is not null`,
    [dagId],
  );
}

/**
 * Makes these the DAG's schedules. One that it has keeps its position, and what was due until now is owed as it was defined
 * until now; one that it had goes on from now; a new one begins now. Only the first schedules that a DAG ever has begin
 * earlier: at the start date, under catch-up `all`. What is not among them stays as it was, and fires no more.
 */
export async function replaceSchedules(tx: Tx, dagId: string, schedules: readonly DefinedSchedule[]): Promise<void> {
  const { rows: known } = await tx.query<KnownSchedule>(
    `select id, timing, definition, ord is not null as "isDefined" from sluice.schedule where dag_id = $1
      order by ord is null, ord, id desc`,
    [dagId],
  );
  const matches = matchSchedules(schedules, known);
  // Places are given anew, and no two may be the same meanwhile.
  await tx.query("update sluice.schedule set ord = -1 - ord where dag_id = $1 and ord is not null", [dagId]);
  const again = schedules.filter((one) => matches.has(one));
  await tx.query(
    `update sluice.schedule s
        set ord = x.ord, definition = x.definition,
            former = case when s.ord is not null and s.definition <> x.definition then coalesce(s.former, s.definition) else s.former end,
            former_to = case when s.ord is not null and s.definition <> x.definition then sluice.clock() else s.former_to end,
            position = case when s.ord is null then greatest(s.position, sluice.clock()) else s.position end,
            last_due = case when s.ord is not null then s.last_due end
       from unnest($2::bigint[], $3::int[], $4::jsonb[]) x(id, ord, definition)
      where s.dag_id = $1 and s.id = x.id`,
    [
      dagId,
      again.map((one) => matches.get(one)!.id),
      again.map(({ ord }) => ord),
      again.map(({ definition }) => definitionText(definition)),
    ],
  );
  await tx.query(
    `update sluice.schedule set ord = null, next_at = null, next_due = null, former = null, former_to = null
      where dag_id = $1 and ord < 0`,
    [dagId],
  );
  const fresh = schedules.filter((one) => !matches.has(one));
  await tx.query(
    `insert into sluice.schedule (dag_id, timing, ord, definition, position)
     select $1, x.timing, x.ord, x.definition, least(sluice.clock(), x.begin - interval '1 ms')
       from unnest($2::text[], $3::int[], $4::jsonb[], $5::timestamptz[]) x(timing, ord, definition, begin)`,
    [
      dagId,
      fresh.map(({ timing }) => timing),
      fresh.map(({ ord }) => ord),
      fresh.map(({ definition }) => definitionText(definition)),
      fresh.map(({ definition: { catchup, startDate } }) =>
        known.length === 0 && typeof catchup === "object" ? (startDate ?? null) : null,
      ),
    ],
  );
  await lookAtSchedules(tx, dagId);
}

/** Has schedules that stand in the future, where a wrong clock has taken them, go on from now. Answers how many did. */
export async function resetSchedules(tx: Tx, dagId: string): Promise<number> {
  await lockSchedules(tx, dagId);
  const { rowCount } = await tx.query(
    `update sluice.schedule set position = sluice.clock(), last_due = null
      where dag_id = $1 and ord is not null and position > sluice.clock()`,
    [dagId],
  );
  await lookAtSchedules(tx, dagId);
  return rowCount ?? 0;
}

/** A schedule that is to be looked at. `open`: how many runs of its DAG that schedules made are queued or running. */
export type DueSchedule = {
  id: string;
  dagId: string;
  definition: string;
  /** What counts of what was due by then, while that is not done with. */
  former: { definition: string; to: Date } | undefined;
  state: ScheduleState;
  revision: string;
  versionId: string;
  params: Record<string, ParamSchema> | null;
  maxActiveRuns: number;
  open: number;
};

/** Schedules to be looked at now, by the database's clock; those longest due first. */
export type DueLook = {
  now: Date;
  due: DueSchedule[];
  /** Milliseconds until the next is due; undefined when there is none. With some due, at most 0. */
  nextInMs: number | undefined;
};

type DueRow = {
  now: Date;
  nextInMs: number | null;
  id: string | null;
  dagId: string;
  definition: string;
  former: string | null;
  formerTo: Date | null;
  position: Date;
  lastDue: Date | null;
  skipFrom: Date | null;
  skipTo: Date | null;
  revision: string;
  versionId: string;
  params: Record<string, ParamSchema> | null;
  maxActiveRuns: number;
  open: number;
};

const NOT_IN_QUARANTINE = `not exists (select from sluice.quarantine q
  where q.duty = 'fire' and q.key = s.id::text and q.retry_at > (select sluice.clock()))`;

/** One statement, whether anything is due or not: it is what an idle scheduler asks. */
export async function readDueSchedules(db: Db, most: number): Promise<DueLook> {
  const { rows } = await db.query<DueRow>({
    name: "read-due-schedules",
    text: `
      with clock as materialized (select sluice.clock() as now)
      select c.now, extract(epoch from n.next_at - c.now)::float8 * 1000 as "nextInMs", s.id, s.dag_id as "dagId",
             s.definition::text as definition, s.former::text as former, s.former_to as "formerTo", s.position, s.last_due as "lastDue", s.skip_from as "skipFrom",
             s.skip_to as "skipTo", s.revision, d.current_version_id as "versionId", v.params,
             d.max_active_runs as "maxActiveRuns",
             (select count(*)::int from sluice.dag_run r
               where r.dag_id = d.id and r.state = 'queued' and r.backfill_id is null and r.trigger_kind = 'schedule')
             + (select count(*)::int from sluice.dag_run r
                 where r.dag_id = d.id and r.state = 'running' and r.trigger_kind = 'schedule') as open
        from clock c
        left join lateral (select s.next_at from sluice.schedule s
                            where s.next_at is not null and ${NOT_IN_QUARANTINE} order by s.next_at limit 1) n on true
        left join lateral (select s.* from sluice.schedule s
                            where s.next_at <= c.now and ${NOT_IN_QUARANTINE} order by s.next_at limit $1) s on true
        left join sluice.dag d on d.id = s.dag_id
        left join sluice.dag_version v on v.id = d.current_version_id`,
    values: [most],
  });
  const { now, nextInMs } = rows[0]!;
  return { now, nextInMs: nextInMs ?? undefined, due: rows.filter(({ id }) => id !== null).map(dueOf) };
}

function dueOf({ id, dagId, definition, position, lastDue, skipFrom, skipTo, ...row }: DueRow): DueSchedule {
  const { revision, versionId, params, maxActiveRuns, open, formerTo } = row;
  const former = row.former === null || formerTo === null ? undefined : { definition: row.former, to: formerTo };
  const skip = skipFrom === null || skipTo === null ? undefined : { from: skipFrom, to: skipTo };
  const state = { position, lastDue: lastDue ?? undefined, skip };
  return { id: id!, dagId, definition, former, state, revision, versionId, params, maxActiveRuns, open };
}

/** What was decided of a schedule that was read; `params` is what tasks of its runs will see. */
export type FiringOrder = {
  schedule: DueSchedule;
  decision: Decision;
  /** The former definition is done with. */
  closes: boolean;
  params: Record<string, unknown>;
};

export type FiredRun = { runId: string; dagId: string };

/**
 * Starts and drops what was decided and moves the schedules on, in one transaction. Schedules that somebody else has at
 * hand, or has changed since they were read, are left out. Answers the schedules that were moved and the runs that were made, which are queued.
 */
export async function fireSchedules(
  db: Db,
  orders: readonly FiringOrder[],
  actor: string,
): Promise<{ moved: string[]; runs: FiredRun[] }> {
  const moves = orders.map(({ schedule: { id, revision, versionId }, closes, decision: { state, next } }) => ({
    id,
    revision,
    version: versionId,
    position: state.position,
    last_due: state.lastDue,
    skips: state.skip !== undefined,
    closes,
    next_due: next?.due,
    next_at: next?.at,
  }));
  const runs = orders.flatMap(({ schedule, decision, params }) =>
    decision.fires.map(({ logicalDate, interval }) => ({
      dag: schedule.dagId,
      version: schedule.versionId,
      kind: "schedule",
      key: `${schedule.id} ${logicalDate.toISOString()}`,
      logical: logicalDate,
      start: interval.start,
      end: interval.end,
      params,
      actor,
      schedule: schedule.id,
    })),
  );
  const drops = orders.flatMap(({ schedule, decision }) =>
    decision.dropped.map(({ reason, runs: count, firstDue, lastDue }) => ({
      id: schedule.id,
      reason,
      runs: count,
      first_due: firstDue,
      last_due: lastDue,
    })),
  );
  const { rows } = await db.query<{ moved: string[]; runs: FiredRun[] }>({
    name: "fire-schedules",
    text: `select moved, runs_made as runs from sluice.fire_schedules($1, $2, $3)`,
    values: [moves, runs, drops].map((list) => JSON.stringify(list)),
  });
  return rows[0]!;
}

/** Schedules that should have been looked at long ago, and by how much the oldest is late. */
export async function overdueSchedules(
  db: Db,
  lateMs: number,
): Promise<{ count: number; oldest: { dagId: string; lateMs: number } | undefined }> {
  const { rows } = await db.query<{ dagId: string; lateMs: number; count: number }>({
    name: "overdue-schedules",
    text: `
      select s.dag_id as "dagId", extract(epoch from (select sluice.clock()) - s.next_at)::float8 * 1000 as "lateMs",
             count(*) over ()::int as count
        from sluice.schedule s
       where s.next_at < (select sluice.clock()) - $1 * interval '1 ms' and ${NOT_IN_QUARANTINE} order by s.next_at limit 1`,
    values: [lateMs],
  });
  const [oldest] = rows;
  return { count: oldest?.count ?? 0, oldest };
}
