import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { applyAdmission } from "#lib/db/admission.ts";
import { createTaskClassCache } from "#lib/db/task-classes.ts";
import { claimQueued, type WorkerRef } from "#lib/db/claims.ts";
import { type Finish, finishRunning } from "#lib/db/finishes.ts";
import type { Tx } from "#lib/db/pool.ts";
import type { EngineDeps } from "#lib/engine/deps.ts";
import { planAdmission } from "#lib/engine/admit.ts";
import { LEASE_MS } from "#lib/engine/lease.ts";

/** A transaction that is held open until it is told to commit. */
export type Held<T> = {
  result: T;
  /** For what is done in it later. */
  tx: Tx;
  commit: () => Promise<void>;
};

/** Does `work` in a transaction of its own and keeps its locks; a test that fails before the commit gives them back. */
export async function held<T>({ pool }: EngineDeps, work: (tx: Tx) => Promise<T>): Promise<Held<T>> {
  const tx = await pool.connect();
  let open = true;
  const end = async (how: "commit" | "rollback"): Promise<void> => {
    if (!open) return;
    open = false;
    try {
      await tx.query(how);
    } finally {
      tx.release();
    }
  };
  onTestFinished(() => end("rollback"));
  await tx.query("begin");
  // However long the test takes on a busy machine, it is the test that ends it.
  await tx.query("set local idle_in_transaction_session_timeout = 0");
  return { result: await work(tx), tx, commit: () => end("commit") };
}

const LOOK_AGAIN_MS = 5;

/** Resolves when so many wait for a lock in this database. */
export async function waitsForLock({ pool }: EngineDeps, count = 1): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    if (rowCount! >= count) return;
    await delay(LOOK_AGAIN_MS);
  }
}

/**
 * Until the test is over, what waits for a lock waits as long as that is held: who is not to wait proves it by returning, however busy
 * the machine is. Before anything of the pool is held.
 */
export async function withoutLockTimeout({ pool }: EngineDeps): Promise<void> {
  const all = async (sql: string): Promise<void> => {
    const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
    for (const client of clients) {
      await client.query(sql);
      client.release();
    }
  };
  onTestFinished(() => all("reset lock_timeout"));
  await all("set lock_timeout = 0");
}

/** An admission's pass; answers how many it has handed over. */
export async function admission(tx: Tx): Promise<number> {
  const { plan } = await planAdmission(tx, createTaskClassCache(), "open lanes");
  return (await applyAdmission(tx, plan)).attempts.length;
}

const LANES = { queues: ["default"], slotClass: "process" } as const;

/** A claim of all that is handed over; returns how many it got. */
export function claiming({ newToken }: EngineDeps, worker: WorkerRef): (tx: Tx) => Promise<number> {
  return async (tx) => {
    const tokens = Array.from({ length: 100 }, newToken);
    return (await claimQueued(tx, worker, LANES, tokens, LEASE_MS)).claimed.length;
  };
}

/** Ends of one batch; answers the task instances of those that were accepted. */
export function finishing(...batch: Finish[]): (tx: Tx) => Promise<string[]> {
  return async (tx) => (await finishRunning(tx, batch, "worker:w", LEASE_MS)).accepted;
}
