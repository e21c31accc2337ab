import { PgBoss, type Db as BossDb } from "pg-boss";
import type pg from "pg";
import { SLOT_CLASSES, type SlotClass } from "#lib/domain/states.ts";
import type { Delivery } from "#lib/db/claims.ts";
import type { Tx } from "#lib/db/pool.ts";
import { type CallbackQueue, createCallbackQueue, installCallbackQueue } from "./callback-queue.ts";

/**
 * pg-boss carries attempts from admission to workers, and that is all it does: retries, leases and history are
 * the engine's. A lost or doubled delivery changes nothing, because a claim checks the attempt's own row.
 *
 * One pg-boss queue per lane. A lane is a queue label and a slot class, so that a worker that has no free slot
 * of a class does not fetch tasks of that class.
 */
const SCHEMA = "sluice_boss";

export type Lane = { queue: string; slotClass: SlotClass };

export function laneName(lane: Lane): string {
  return `${lane.queue}.${lane.slotClass}`;
}

/** Stands for the attempts that only this worker may take. No queue of pg-boss, and no name that a queue can have. */
export function ownQueue(workerId: string): string {
  return `@${workerId}`;
}

export function lanesOf(queues: readonly string[]): Lane[] {
  return queues.flatMap((queue) => SLOT_CLASSES.map((slotClass) => ({ queue, slotClass })));
}

/** Attempts that travel in one job: a job costs pg-boss as much as an attempt costs us. */
type Parcel = { attempts: [taskInstanceId: string, attemptId: string][] };
const MAX_PARCEL = 16;
const MAX_NAMED = 256;
/** A handful handed over goes in jobs of one, so that several workers share it; a hundred in larger ones. */
const PARCELS_AT_LEAST = 8;

function parcels(deliveries: readonly Delivery[]): { data: Parcel }[] {
  const attempts = deliveries.map(({ taskInstanceId, attemptId }): Parcel["attempts"][number] => [
    taskInstanceId,
    attemptId,
  ]);
  const size = Math.min(MAX_PARCEL, Math.ceil(attempts.length / PARCELS_AT_LEAST));
  const count = Math.ceil(attempts.length / size);
  return Array.from({ length: count }, (_, at) => ({ data: { attempts: attempts.slice(at * size, (at + 1) * size) } }));
}

export type TaskQueue = {
  /** Installs or upgrades pg-boss's own tables. Part of the migration, never of a running process. */
  install(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Makes the lanes' queues when they are not there yet. */
  ensureLanes(lanes: readonly Lane[]): Promise<void>;
  /** Hands attempts over, inside the transaction that admitted them. */
  enqueue(tx: Tx, lane: string, attempts: readonly Delivery[]): Promise<void>;
  /**
   * Takes up to `max` attempts off a lane, in the order in which they were handed over. First statement of its
   * transaction; a rollback puts them back. `isOff` resolves when they are off the queue, and is waited for before
   * the commit: what is done with them meanwhile travels together with it.
   */
  take(tx: Tx, lane: string, max: number): Promise<{ deliveries: Delivery[]; isOff: Promise<unknown> }>;
  /** Requests that tell others of an end. */
  callbacks: CallbackQueue;
};

export function createTaskQueue(pool: pg.Pool, onError: (error: unknown) => void): TaskQueue {
  const names = new Map<string, string>();
  /** pg-boss's statements are few texts that come again and again: named, Postgres parses and plans them once. */
  const nameOf = (text: string): string | undefined => {
    if (!names.has(text) && names.size < MAX_NAMED) names.set(text, `boss-${names.size}`);
    return names.get(text);
  };
  const on = (db: pg.Pool | Tx): BossDb => ({
    executeSql: async (text, values = []) => {
      // Its installation sends many commands in one text, which cannot be named; in our transactions it never does.
      const name = values.length === 0 && db === pool ? undefined : nameOf(text);
      return db.query({ text, values, ...(name === undefined ? {} : { name }) });
    },
  });
  const create = (migrate: boolean): PgBoss => {
    const boss = new PgBoss({
      db: on(pool),
      schema: SCHEMA,
      migrate,
      supervise: false,
      schedule: false,
      registerInstance: false,
    });
    boss.on("error", onError);
    return boss;
  };
  const boss = create(false);
  return {
    callbacks: createCallbackQueue(boss, on),
    async install() {
      const installer = create(true);
      await installer.start();
      await installCallbackQueue(installer);
      await installer.stop({ graceful: false });
    },
    async start() {
      await boss.start();
    },
    async stop() {
      await boss.stop({ graceful: false });
    },
    async ensureLanes(lanes) {
      for (const lane of lanes) await boss.createQueue(laneName(lane), { retryLimit: 0 });
    },
    async enqueue(tx, lane, attempts) {
      await boss.insert(lane, parcels(attempts), { db: on(tx) });
    },
    async take(tx, lane, max) {
      const taken: Delivery[] = [];
      const deleted: Promise<unknown>[] = [];
      // Waited for at the end; until then nobody else hears of a failure.
      const later = (work: Promise<unknown>): void => {
        work.catch(() => undefined);
        deleted.push(work);
      };
      while (taken.length < max) {
        // As many as certainly fit, were they all full. Where not even one does, it may bring more than there is room for.
        const batchSize = Math.max(1, Math.floor((max - taken.length) / MAX_PARCEL));
        const jobs = await boss.fetch<Parcel>(lane, { batchSize, ignoreStartAfter: true, db: on(tx) });
        if (jobs.length > 0) {
          // Deleted at once: no pg-boss job is ever active outside this transaction.
          const ids = jobs.map((job) => job.id);
          later(boss.deleteJob(lane, ids, { db: on(tx) }));
          const attempts = jobs.flatMap((job) => job.data.attempts);
          taken.push(...attempts.map(([taskInstanceId, attemptId]) => ({ taskInstanceId, attemptId })));
        }
        if (jobs.length < batchSize) break;
      }
      // What there is no room for goes back, before everything that came after it.
      const rest = taken.splice(max);
      if (rest.length > 0) {
        const back = parcels(rest).map((parcel) => ({ ...parcel, priority: 1 }));
        later(boss.insert(lane, back, { db: on(tx) }));
      }
      const isOff = Promise.all(deleted);
      // Whoever waits for it hears of a failure; whoever failed before that did so for the same reason.
      isOff.catch(() => undefined);
      return { deliveries: taken, isOff };
    },
  };
}
