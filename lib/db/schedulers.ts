import type { ProtocolRange } from "#lib/domain/protocol.ts";
import type { Db } from "./pool.ts";

export type SchedulerIdentity = { id: string; host: string; pid: number; version: string };

export type SchedulerDuty = { name: string; ok: boolean; ageMs: number; maxAgeMs: number; error: string | null };

/** Not seen for so long, a scheduler is taken for gone. */
export const SCHEDULER_GONE_MS = 30_000;

/**
 * Says that this scheduler is there and how its duties are; returns how many rows each duty leaves out, and which
 * protocols the database takes. A row that nobody has
 * tried for an hour after its time is not there any more: its run was cancelled, say.
 */
export async function sayPresent(
  db: Db,
  { id, host, pid, version }: SchedulerIdentity,
  duties: readonly SchedulerDuty[],
): Promise<{ quarantined: Record<string, number>; protocol: ProtocolRange }> {
  const { rows } = await db.query<{ quarantined: Record<string, number>; protocol: ProtocolRange }>({
    name: "say-present",
    text: `
      with gone as (delete from sluice.scheduler where seen_at < (select sluice.clock()) - interval '1 day'),
      forgotten as (delete from sluice.quarantine where retry_at < (select sluice.clock()) - interval '1 hour'),
      here as (
        insert into sluice.scheduler (id, host, pid, version, duties) values ($1, $2, $3, $4, $5)
        on conflict (id) do update set seen_at = sluice.clock(), duties = excluded.duties)
      select coalesce((select jsonb_object_agg(duty, n) from (select duty, count(*) as n from sluice.quarantine group by 1) q),
                      '{}') as quarantined,
             (select json_build_object('min', p.min, 'max', p.max) from sluice.protocol p) as protocol`,
    values: [id, host, pid, version, JSON.stringify(duties)],
  });
  return rows[0]!;
}

/** One that stops in order is no longer there. */
export async function sayGone(db: Db, id: string): Promise<void> {
  await db.query("delete from sluice.scheduler where id = $1", [id]);
}

export type SeenScheduler = SchedulerIdentity & { startedAt: Date; seenMsAgo: number; duties: SchedulerDuty[] };

/** Those seen within the last day, the one that was seen last first. */
export async function listSchedulers(db: Db): Promise<SeenScheduler[]> {
  const { rows } = await db.query<SeenScheduler>(
    `select id, host, pid, version, started_at as "startedAt", duties,
            extract(epoch from sluice.clock() - seen_at)::float8 * 1000 as "seenMsAgo"
       from sluice.scheduler order by seen_at desc, id`,
  );
  return rows;
}
