import type { DropReason } from "#lib/domain/schedule/decide.ts";
import type { ScheduleDefinition } from "#lib/domain/schedule/definition.ts";
import type { Db } from "./pool.ts";

/** Runs of one reason that never started, over the time that was asked for. */
export type DroppedRuns = { reason: DropReason; runs: number; firstDue: Date; lastDue: Date };

/** A schedule of a DAG's current version, and where it stands. */
export type ScheduleStanding = {
  id: string;
  dagId: string;
  /** Its place in the definition, from 0. */
  ord: number;
  definition: ScheduleDefinition;
  /** What was due up to here is done with. */
  position: Date;
  lastDue: Date | null;
  nextDue: Date | null;
  /** When a scheduler will look at it next; null when there is nothing to wait for. */
  nextAt: Date | null;
  pausedBy: string | null;
  pausedAt: Date | null;
  missing: boolean;
  dropped: DroppedRuns[];
};

/** How far back dropped runs are told of. */
export const DROPS_DAYS = 30;

/** The schedules of the current versions of all DAGs, or of some, and the database's clock. */
export async function listSchedules(
  db: Db,
  dagIds?: readonly string[],
): Promise<{ now: Date; schedules: ScheduleStanding[] }> {
  const { rows } = await db.query<{ now: Date; schedules: RawStanding[] | null }>({
    name: "list-schedules",
    text: `
      select sluice.clock() as now,
             (select jsonb_agg(jsonb_build_object(
                       'id', s.id::text, 'dagId', s.dag_id, 'ord', s.ord, 'definition', s.definition,
                       'position', s.position, 'lastDue', s.last_due,
                       'nextDue', s.next_due, 'nextAt', s.next_at, 'pausedBy', d.paused_by, 'pausedAt', d.paused_at,
                       'missing', d.missing, 'dropped', coalesce(x.dropped, '[]')) order by s.dag_id, s.ord)
                from sluice.schedule s
                join sluice.dag d on d.id = s.dag_id
                left join lateral (
                  select jsonb_agg(jsonb_build_object('reason', g.reason, 'runs', g.runs, 'firstDue', g.first_due,
                                                      'lastDue', g.last_due) order by g.first_due) as dropped
                    from (select reason, sum(runs) as runs, min(first_due) as first_due, max(last_due) as last_due
                            from sluice.dropped_runs where schedule_id = s.id and day > sluice.today() - $2::int
                           group by reason) g) x on true
               where s.ord is not null and ($1::text[] is null or s.dag_id = any ($1))) as schedules`,
    values: [dagIds ?? null, DROPS_DAYS],
  });
  const { now, schedules } = rows[0]!;
  return { now, schedules: (schedules ?? []).map(standingOf) };
}

type Texts<T, Keys extends keyof T> = { [K in keyof T]: K extends Keys ? string | Extract<T[K], null> : T[K] };
type RawStanding = Texts<
  Omit<ScheduleStanding, "dropped">,
  "position" | "lastDue" | "nextDue" | "nextAt" | "pausedAt"
> & {
  dropped: Texts<DroppedRuns, "firstDue" | "lastDue">[];
};

const dateOf = (text: string | null): Date | null => (text === null ? null : new Date(text));

function standingOf({ position, lastDue, nextDue, nextAt, pausedAt, dropped, ...row }: RawStanding): ScheduleStanding {
  return {
    ...row,
    position: new Date(position),
    lastDue: dateOf(lastDue),
    nextDue: dateOf(nextDue),
    nextAt: dateOf(nextAt),
    pausedAt: dateOf(pausedAt),
    dropped: dropped.map((one) => ({ ...one, firstDue: new Date(one.firstDue), lastDue: new Date(one.lastDue) })),
  };
}
