import type { Db } from "./pool.ts";

/** Nobody who lives serves it any more, or the one it was meant for has gone or is another now. */
export const HAS_NO_WORKER = `not exists (
    select from sluice.worker k
     where k.state = 'active' and k.lease_until > (select sluice.clock()) and w.queue = any (k.queues) and w.needs <@ k.offers
       and case w.slot_class when 'process' then k.process_slots when 'function' then k.function_slots
                             else k.inline_slots end > 0
       and (a.assigned_to is null or a.assigned_to = k.id))`;

/** Nothing of such a run is claimed: what is handed over of it would keep its lane, its pool and its DAG's limits from others. */
export const HAS_AN_ACTION = "a.task_instance_id >> 20 in (select x.run_id from sluice.run_action x)";

/** Why what was handed over is taken back before any worker took it, and when. */
const TAKEN_BACK_WHEN = {
  NO_WORKER: HAS_NO_WORKER,
  ACTION: HAS_AN_ACTION,
} as const;

/**
 * `queued` → `ready`, with the count of attempts as before; at most 1,000 a call. A claim that comes first keeps the
 * attempt; one that comes later finds nothing. Answers whose runs they were.
 */
async function unadmit(db: Db, reason: keyof typeof TAKEN_BACK_WHEN): Promise<string[]> {
  const { rows } = await db.query<{ runId: string }>({
    name: `unadmit-${reason}`,
    text: `
      select distinct run as "runId" from sluice.take_back(array(
        select t.id from sluice.task_instance t
         where t.id = any (array(select a.task_instance_id
                                   from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
                                  where a.state = 'queued' and ${TAKEN_BACK_WHEN[reason]}))
         order by t.id limit 1000 for update), $1) as b(run)`,
    values: [reason],
  });
  return rows.map((row) => row.runId);
}

async function unadmitAll(db: Db, reason: keyof typeof TAKEN_BACK_WHEN): Promise<string[]> {
  const all = new Set<string>();
  for (let some = await unadmit(db, reason); some.length > 0; some = await unadmit(db, reason))
    for (const runId of some) all.add(runId);
  return [...all];
}

/** What was handed over to workers that have gone waits for others again, with its reason. Returns whose runs they were. */
export function unadmitAbandoned(db: Db): Promise<string[]> {
  return unadmitAll(db, "NO_WORKER");
}

/** What was handed over of runs that have an action, and is admitted anew after it. Returns whose runs they were. */
export function unadmitActing(db: Db): Promise<string[]> {
  return unadmitAll(db, "ACTION");
}
