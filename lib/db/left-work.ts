import { isExpired, IS_LEFT_BY_A_STOPPED_WORKER } from "./lost-attempts.ts";
import type { Db } from "./pool.ts";
import { HAS_AN_ACTION, HAS_NO_WORKER } from "./unadmit.ts";

/**
 * Whether a sweep would find anything, in quarantine or not. Each part of it looks again and for
 * itself: this is one statement instead of one for each, while there is nothing.
 */
export async function isAnythingLeft(db: Db, leaseMs: number): Promise<boolean> {
  const { rows } = await db.query<{ any: boolean }>({
    name: "anything-left",
    text: `
      select exists (select from sluice.live_attempt a where a.state = 'running' and ${isExpired("$1")})
          or exists (select from sluice.live_attempt a where a.state = 'running' and ${IS_LEFT_BY_A_STOPPED_WORKER})
          or exists (select from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
                      where a.state = 'queued' and ${HAS_NO_WORKER})
          or exists (select from sluice.live_attempt a where a.state = 'queued' and ${HAS_AN_ACTION})
          or exists (select from sluice.task_instance t where t.suspect and t.waits_apart and t.state = 'ready' and not t.held)
          or exists (select from sluice.run_progress p where p.unsettled) as any`,
    values: [leaseMs],
  });
  return rows[0]!.any;
}
