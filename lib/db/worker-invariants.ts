import { MAX_AHEAD } from "#lib/domain/lookahead.ts";
import type { Invariant } from "./invariants.ts";
import { admittedSince, GRACE, LIVE } from "./limit-invariants.ts";
import { workersOfLane } from "./lost-attempts.ts";

/** What must hold of the room that workers give, and of what each of them has. */
export const WORKER_CHECKS: readonly (Invariant & { sql: string })[] = [
  {
    id: "lane-room",
    says: "no more tasks are handed over in a lane than its workers' slots and its window take",
    /*
     * Judged as admission judges, by the rooms that its last pass found: together with what was live before, what one transaction hands
     * over is within the lane's room and its group's (or the lane's own slots), or what is handed over and not taken is within the
     * window, which is all that is asked where nothing else waits.
     *
     * Who admits without the lock does not see what others are just handing over. So "before" is what was handed over two seconds earlier
     * at least: as many as do so within two seconds may each fill the window. \`xmin\` tells whose a row is until a worker takes it.
     * Of each lane the transaction that came last is asked about, and the one that handed over most: all others would be quadratic.
     * The times are in the order of the rows, so that a clock that was set back makes nothing older than it is; those of children that
     * continued say nothing of the rows that they have from their parents. A lane that was changed after the clock was set back says by
     * \`changed_seq\` what came before.
     */
    sql: `
      with live as materialized (
        select a.lane_id, l.group_id, a.seq, a.state = 'queued' and a.assigned_to is null as is_open,
               case when a.state = 'queued' then a.xmin::text end as tx, coalesce(max(a.queued_at) filter (where a.ready_at <> a.queued_at) over (order by a.seq), '-infinity') as at
          from sluice.live_attempt a join sluice.lane l on l.id = a.lane_id),
      lanes as materialized (
        select l.*, g.group_room as room_of_group, greatest(l.changed_since, g.changed_since) + ${GRACE} as since,
               greatest(l.changed_seq, g.changed_seq) as since_seq,
               sum(n.live) over (partition by l.group_id) as in_group, n.live as in_lane, n.open
          from sluice.lane l join sluice.lane g on g.id = l.group_id
          join (select lane_id, count(*) as live, count(*) filter (where is_open) as open from live group by 1) n
            on n.lane_id = l.id),
      -- Mostly none: only of these is looked at who handed over what.
      full_lanes as (
        select * from lanes
         where (in_lane > room or in_lane > own_slots and in_group > room_of_group) and open > room - slots),
      together as (
        select l.id, l.queue, l.slot_class, l.group_id, l.slots, l.room, l.own_slots, l.room_of_group, v.tx, min(v.at) as at,
               max(v.seq) as last, row_number() over (partition by l.id order by min(v.at) desc) as nth_youngest,
               row_number() over (partition by l.id order by count(*) desc) as nth_largest
          from full_lanes l join live v on v.lane_id = l.id and v.tx is not null
         group by 1, 2, 3, 4, 5, 6, 7, 8, 9
        having min(v.at) > min(l.since) and min(v.seq) > min(l.since_seq))
      select x.queue, x.slot_class as "slotClass", x.room, x.room_of_group as "roomOfGroup", max(n.in_lane)::int as live,
             max(n.in_group)::int as "inGroup"
        from together x
       cross join lateral (
         select count(*) filter (where v.lane_id = x.id) as in_lane, count(*) filter (where v.seq <= x.last) as in_group,
                count(*) filter (where v.lane_id = x.id and v.is_open) as open
           from live v where v.group_id = x.group_id and (v.tx = x.tx or v.at <= x.at - ${GRACE})) n
       where 1 in (x.nth_youngest, x.nth_largest)
         and (n.in_lane > x.room or n.in_lane > x.own_slots and n.in_group > x.room_of_group) and n.open > x.room - x.slots
       group by 1, 2, 3, 4`,
  },
  {
    id: "lane-slots",
    says: "a lane is thought to have no more slots and room than its workers had when they were counted",
    // All that are known, gone or not. One that has taken over its name since, or just before, may have fewer than the process before it.
    sql: `
      select l.queue, l.slot_class as "slotClass", l.slots, k.slots as "ofWorkers", l.room
        from sluice.lane l
       cross join lateral (
         select coalesce(sum(s.slots), 0)::int as slots,
                coalesce(sum(case l.slot_class when 'inline' then s.slots else 2 * ${MAX_AHEAD} end), 0) as ahead
           from sluice.worker k
          cross join lateral (select case l.slot_class when 'process' then k.process_slots
                                                       when 'function' then k.function_slots else k.inline_slots end) s(slots)
          where l.queue = any (k.queues)) k
       where (l.slots > k.slots or l.room > l.slots + greatest(1, l.slots / 4, k.ahead))
         and not exists (select from sluice.worker k
                          where k.epoch > 1 and k.started_at > l.changed_since - interval '10 seconds')`,
  },
  {
    id: "worker-slots",
    says: "a worker has no more tasks than slots, but for those that it has claimed ahead of their slots",
    // A worker says how much it claims ahead before it does. When that is less again, what it has is not taken from it: then it is the
    // youngest claim that counts, and not a child that continues in its parent's slot, which is ready when it starts.
    sql: `
      select k.id as worker, w.slot_class as "slotClass", s.most, count(*)::int as live
        from ${LIVE} join sluice.worker k on k.id = a.worker_id and k.epoch = a.worker_epoch
       cross join lateral (
         select case w.slot_class when 'process' then k.process_slots + k.process_ahead
                                  when 'function' then k.function_slots + k.function_ahead
                                  else k.inline_slots end) s(most)
       where a.state = 'running'
       group by k.id, w.slot_class, s.most
      having count(*) > s.most
             and max(a.started_at) filter (where a.ready_at < a.started_at) > k.ahead_since + ${GRACE}`,
  },
  {
    id: "suspects-apart",
    says: "of tasks that have lost several workers, a worker runs one at a time",
    sql: `
      select a.worker_id as worker, count(*)::int as suspects
        from sluice.task_instance t
       cross join lateral (select a.worker_id, a.worker_epoch from sluice.live_attempt a
                            where a.task_instance_id = t.id and a.state = 'running' offset 0) a
       where t.suspect and t.state = 'running'
       group by a.worker_id, a.worker_epoch having count(*) > 1`,
  },
  {
    id: "suspects-go",
    says: "no task that has lost several workers waits apart while a worker of its lane runs none of them",
    // The sweep lets them go within seconds, the oldest of each lane first.
    sql: `
      select l.queue, l.slot_class as "slotClass", count(*)::int as apart, min(t.id)::text as oldest
        from sluice.task_instance t join sluice.lane l on l.id = t.lane_id
       where t.suspect and t.waits_apart and t.state = 'ready' and not t.held
         and t.ready_at < (select sluice.clock()) - interval '2 minutes'
       group by l.id
      having ${workersOfLane("k.started_at < (select sluice.clock()) - interval '2 minutes'")}
             > (select count(*) from sluice.task_instance o
                 where o.suspect and o.state in ('queued', 'running') and o.lane_id = l.id)`,
  },
  {
    id: "worker-resources",
    says: "the tasks that one worker runs or is to run ask for no more processors and memory than it has",
    sql: `
      select k.id as worker, k.cpu, sum(w.cpu)::int as "cpuTaken", k.memory, sum(w.memory)::int as "memoryTaken"
        from ${LIVE} join sluice.worker k on k.id = coalesce(a.worker_id, a.assigned_to)
       where (a.worker_epoch = k.epoch or a.worker_id is null) and w.cpu + w.memory > 0
       group by k.id
      having (sum(w.cpu) > k.cpu or sum(w.memory) > k.memory) and ${admittedSince("k.started_at")}`,
  },
  {
    id: "worker-offers",
    says: "a worker runs, and is to run, only tasks of its queues whose labels and types it offers",
    // What an earlier process of its name runs or was to run is not its own: it may have offered more.
    sql: `
      select a.task_instance_id::text as "taskInstance", coalesce(a.worker_id, a.assigned_to) as worker, w.queue, w.needs
        from ${LIVE} left join sluice.worker k on k.id = coalesce(a.worker_id, a.assigned_to)
       where case when a.state = 'running' then a.worker_epoch = k.epoch
                  when a.assigned_to is null then w.needs <> '{}' or w.cpu + w.memory > 0
                  else a.queued_at > k.started_at + ${GRACE} end
         and (k.id is null or not w.needs <@ k.offers or w.queue <> all (k.queues))`,
  },
];
