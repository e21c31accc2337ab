import type { Db, Tx } from "./pool.ts";

/** Any number that no other user of advisory locks in this database takes: "sluice" in ASCII, shortened. */
const ADMISSION_LOCK = 0x736c7569;

/** One admission at a time: without it two passes would count the same free slots. Held to the end of `tx`. */
export async function lockAdmission(tx: Tx): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1)", [ADMISSION_LOCK]);
}

export type Admitted = { attemptId: string; lane: string; runId: string };

/**
 * `ready` → `queued` for as many task instances as the live workers' lanes have room for, oldest run first.
 * Must follow `lockAdmission` as a statement of its own: the count below needs a snapshot taken after the lock.
 *
 * Room is slots plus a quarter (at least one), the dispatch window: the next task is at the worker when a slot
 * falls free, and the order is still decided late.
 */
export async function admitReady(tx: Tx): Promise<Admitted[]> {
  const { rows } = await tx.query<Admitted>({
    name: "admit-ready",
    text: `
      with lane as (
        select q.queue, c.slot_class, sum(c.slots)::int as slots
          from sluice.worker w, unnest(w.queues) q(queue),
               lateral (values ('process', w.process_slots), ('function', w.function_slots),
                                ('inline', w.inline_slots)) c(slot_class, slots)
         where w.state = 'active' and w.lease_until > (select sluice.clock()) and c.slots > 0
         group by 1, 2),
      live as (select queue, slot_class, count(*)::int as taken from sluice.live_attempt group by 1, 2),
      room as (
        select lane.queue, lane.slot_class,
               lane.slots + greatest(1, lane.slots / 4) - coalesce(live.taken, 0) as free
          from lane left join live using (queue, slot_class)),
      pick as materialized (
        select t.id from room cross join lateral (
          select t.id from sluice.task_instance t
           where t.state = 'ready' and not t.held and t.queue = room.queue and t.slot_class = room.slot_class
           order by t.id limit greatest(room.free, 0)
             for update skip locked) t
         where room.free > 0),
      moved as (
        update sluice.task_instance t set state = 'queued', attempts = t.attempts + 1
          from pick where t.id = pick.id and t.state = 'ready' and not t.held
        returning t.id, t.run_id, t.attempts, t.queue, t.slot_class),
      born as (
        insert into sluice.live_attempt (task_instance_id, number, id, state, queue, slot_class)
        select id, attempts, gen_random_uuid(), 'queued', queue, slot_class from moved
        returning task_instance_id, id, number, queue, slot_class),
      e as (
        insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
        select run_id, id, attempts, 'ready', 'queued', 'admission' from moved)
      select b.id as "attemptId", b.queue || '.' || b.slot_class as lane, (b.task_instance_id >> 20)::text as "runId"
        from born b order by b.task_instance_id`,
  });
  return rows;
}

/** `retrying` → `ready` for tasks whose time has come; answers how many. Several callers at once are safe. */
export async function readyRetries(db: Db): Promise<number> {
  const { rowCount } = await db.query({
    name: "ready-retries",
    text: `
      with due as materialized (
        select id from sluice.task_instance
         where state = 'retrying' and retry_at <= (select sluice.clock())
         order by id limit 1000 for update skip locked),
      moved as (
        update sluice.task_instance t set state = 'ready', ready_at = sluice.clock(), retry_at = null
          from due where t.id = due.id and t.state = 'retrying'
        returning t.id, t.run_id, t.attempts)
      insert into sluice.event (run_id, task_instance_id, attempt, from_state, to_state, actor)
      select run_id, id, attempts, 'retrying', 'ready', 'retry' from moved`,
  });
  return rowCount ?? 0;
}
