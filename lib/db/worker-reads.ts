import { z } from "zod";
import type { Worker } from "#lib/contract/workers.ts";
import type { Db } from "./pool.ts";

/** More than these nobody reads. */
const MOST = 500;

const isoTime = z.date().transform((time) => time.toISOString());

const Row = z.object({
  id: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string(),
  state: z.enum(["active", "trouble", "draining", "stopped", "gone"]),
  trouble: z.string().nullable(),
  troubleSince: isoTime.nullable(),
  queues: z.array(z.string()),
  slots: z.object({ process: z.number(), function: z.number(), inline: z.number() }),
  running: z.number(),
  startedAt: isoTime,
});

/** The workers by name, those in trouble first; at most 500. */
export async function listWorkers(db: Db): Promise<Worker[]> {
  const { rows } = await db.query({
    name: "list-workers",
    text: `
      with held as materialized (
        select a.worker_id, a.worker_epoch, count(*)::int as n
          from sluice.live_attempt a where a.state = 'running' group by 1, 2),
      known as (
        select w.*, case when w.state = 'stopped' then 'stopped'
                         when w.lease_until < (select sluice.clock()) then 'gone'
                         when w.trouble is not null then 'trouble' else w.state end as seen
          from sluice.worker w)
      select k.id, k.host, k.pid, k.version, k.seen as state, k.trouble, k.trouble_since as "troubleSince", k.queues,
             json_build_object('process', k.process_slots, 'function', k.function_slots, 'inline', k.inline_slots) as slots,
             coalesce((select h.n from held h where h.worker_id = k.id and h.worker_epoch = k.epoch), 0) as running,
             k.started_at as "startedAt"
        from known k
       order by k.seen <> 'trouble', k.seen in ('stopped', 'gone'), k.id limit ${MOST}`,
  });
  return rows.map((row) => Row.parse(row));
}
