import type { ProtocolRange } from "#lib/domain/protocol.ts";
import type { SlotClass } from "#lib/domain/states.ts";
import type { Db } from "./pool.ts";
import type { WorkerRef } from "./claims.ts";

export type WorkerRegistration = {
  id: string;
  host: string;
  pid: number;
  version: string;
  queues: readonly string[];
  processSlots: number;
  functionSlots: number;
  inlineSlots: number;
  /** What its tasks may ask for, all together: thousandths of a processor and MiB. */
  cpu: number;
  memory: number;
  /** Labels and task types: what it is given needs no others. */
  offers: readonly string[];
  /** Its name is new at each start. */
  isAnonymous: boolean;
};

/** Takes the name: the epoch grows, and an older process under the same name is fenced at its next heartbeat. */
export async function upsertWorker(db: Db, worker: WorkerRegistration, leaseMs: number): Promise<WorkerRef> {
  const { rows } = await db.query<WorkerRef>(
    `insert into sluice.worker
       (id, epoch, host, pid, version, queues, process_slots, function_slots, inline_slots, cpu, memory, offers,
        is_anonymous, state, lease_until)
     values ($1, 1, $2, $3, $4, $5, $6, $7, $8, $10, $11, $12, $13, 'active', sluice.clock() + $9 * interval '1 ms')
     on conflict (id) do update set epoch = worker.epoch + 1, host = excluded.host, pid = excluded.pid,
       version = excluded.version, queues = excluded.queues, process_slots = excluded.process_slots,
       function_slots = excluded.function_slots, inline_slots = excluded.inline_slots, cpu = excluded.cpu,
       memory = excluded.memory, offers = excluded.offers, is_anonymous = excluded.is_anonymous, process_ahead = 0, function_ahead = 0, state = 'active',
       trouble = null, trouble_since = null,
       started_at = sluice.clock(), lease_until = excluded.lease_until
     returning id, epoch`,
    [
      worker.id,
      worker.host,
      worker.pid,
      worker.version,
      worker.queues,
      worker.processSlots,
      worker.functionSlots,
      worker.inlineSlots,
      leaseMs,
      worker.cpu,
      worker.memory,
      worker.offers,
      worker.isAnonymous,
    ],
  );
  return rows[0]!;
}

/** Draining: nothing is admitted for it and its claims take nothing. Stopped: gone on purpose. */
export async function setWorkerState(db: Db, worker: WorkerRef, state: "draining" | "stopped"): Promise<void> {
  await db.query(
    "update sluice.worker set state = $3, trouble = null, trouble_since = null where id = $1 and epoch = $2",
    [worker.id, worker.epoch, state],
  );
}

/**
 * Why this worker can start no task: it drains until it says null. One that stops stays as it is.
 */
export async function setWorkerTrouble(db: Db, worker: WorkerRef, trouble: string | null): Promise<void> {
  await db.query({
    name: "set-worker-trouble",
    text: `update sluice.worker
              set state = case when $3::text is null then 'active' else 'draining' end, trouble = $3,
                  trouble_since = case when $3 is null then null else coalesce(trouble_since, sluice.clock()) end
            where id = $1 and epoch = $2 and (state = 'active' or trouble is not null)`,
    values: [worker.id, worker.epoch, trouble],
  });
}

/** How many attempts of each class it claims before it has slots for them: admission hands over so many more. */
export async function setWorkerAhead(
  db: Db,
  worker: WorkerRef,
  ahead: { process: number; function: number },
): Promise<void> {
  await db.query({
    name: "set-worker-ahead",
    text: "update sluice.worker set process_ahead = $3, function_ahead = $4 where id = $1 and epoch = $2",
    values: [worker.id, worker.epoch, ahead.process, ahead.function],
  });
}

export type Heartbeat = {
  /** Undefined: another process has taken this worker's name. */
  workerState: "active" | "draining" | "stopped" | undefined;
  /** Tokens of the attempts that are still ours; the others were fenced and must stop now. */
  held: string[];
  /** Slot classes of attempts that wait for this very worker. */
  assigned: SlotClass[];
  /** Which protocols the database takes. */
  protocol: ProtocolRange;
};

/** Renews the worker's lease and those of all its attempts in one statement. */
export async function renewLeases(
  db: Db,
  worker: WorkerRef,
  attempts: readonly { taskInstanceId: string; token: string }[],
  leaseMs: number,
): Promise<Heartbeat> {
  const { rows } = await db.query<{
    state: "active" | "draining" | "stopped" | null;
    held: string[];
    assigned: SlotClass[];
    protocol: ProtocolRange;
  }>({
    name: "renew-leases",
    text: `
      with w as (
        update sluice.worker set lease_until = sluice.clock() + $3 * interval '1 ms'
         where id = $1 and epoch = $2 returning state),
      -- A token is one attempt's, so that two lists say the same as pairs.
      lk as materialized (
        select a.task_instance_id as id from sluice.live_attempt a
         where a.task_instance_id = any ($4::bigint[]) and a.token = any ($5::uuid[]) and a.state = 'running'
         order by 1 for update),
      renewed as (
        update sluice.live_attempt a
           set lease_until = sluice.clock() + $3 * interval '1 ms', heartbeat_at = sluice.clock()
         where a.task_instance_id = any (array(select id from lk)) and a.token = any ($5::uuid[]) and a.state = 'running'
        returning a.token)
      select (select state from w) as state, array(select token::text from renewed) as held,
             array(select distinct w.slot_class from sluice.live_attempt a join sluice.workload w on w.id = a.workload_id
                    where a.state = 'queued' and a.assigned_to = $1) as assigned,
             (select json_build_object('min', p.min, 'max', p.max) from sluice.protocol p) as protocol`,
    values: [worker.id, worker.epoch, leaseMs, attempts.map((a) => a.taskInstanceId), attempts.map((a) => a.token)],
  });
  const { state, ...rest } = rows[0]!;
  return { ...rest, workerState: state ?? undefined };
}

/** Deleted by one statement. */
const DELETE_AT_ONCE = 100;

/**
 * Deletes rows of anonymous workers that nobody has heard of for `goneMs`, at most 100; returns how many. A process that
 * was suspended for so long finds at its next heartbeat that it is no worker any more, and stops. Workers with a name of
 * their own keep their rows: the next process of the name takes it over, with the next epoch.
 */
export async function deleteGoneWorkers(db: Db, goneMs: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "delete-gone-workers",
    text: `
      with busy as materialized (
        select worker_id as id from sluice.live_attempt where worker_id is not null
         union select assigned_to from sluice.live_attempt where assigned_to is not null),
      gone as materialized (
        select w.id from sluice.worker w
         where w.is_anonymous and w.lease_until < (select sluice.clock()) - $1 * interval '1 ms'
           and not exists (select from busy where busy.id = w.id)
         order by w.id limit ${DELETE_AT_ONCE} for update of w skip locked)
      delete from sluice.worker w using gone where w.id = gone.id`,
    values: [goneMs],
  });
  return rowCount ?? 0;
}

export async function listWorkerIds(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>("select id from sluice.worker");
  return rows.map(({ id }) => id);
}
