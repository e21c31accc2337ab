import type pg from "pg";
import { isDatabaseUnreachable, isUnstorable } from "#lib/db/database-errors.ts";
import { respondsWithin, type Tx } from "#lib/db/pool.ts";
import { inOneTx, isLockTimeout, isLostRace } from "#lib/db/tx.ts";

/**
 * How a part of a pass came out. Refused: the database never takes this, as it is. Contended: another session was faster or has it locked.
 * Failed: anything else.
 */
export type PartOutcome<T> = { kind: "done"; result: T } | { kind: "refused" | "contended" | "failed"; error: unknown };

/** A pass in parts, of which none keeps another from being done. */
export type Parts = {
  /** Throws only when the database does not answer any more: then no other part could be done either. */
  attempt<T>(part: string, work: () => Promise<T>): Promise<PartOutcome<T>>;
  /** A transaction that waits for others' locks no longer than the pass has time for. */
  inTx<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Grows with each such part. */
  readonly contended: { part: string; error: unknown }[];
};

/** For so long a pass waits for others' locks, altogether; then a moment for each. */
const PATIENCE_MS = 10_000;
const MOMENT_MS = 50;
const SOON_MS = 1_000;
const MAX_TRIES = 3;

export function createParts(pool: pg.Pool): Parts {
  const contended: { part: string; error: unknown }[] = [];
  let waitedMs = 0;

  const judged = async (part: string, error: unknown): Promise<"refused" | "contended" | "failed"> => {
    if (isUnstorable(error)) return "refused";
    const isRace = isLostRace(error);
    if (!isRace && !(await respondsWithin(pool, SOON_MS).catch(() => false))) throw error;
    // A connection that was lost, with the database still there, says nothing of what it was for.
    if (!isRace && !isDatabaseUnreachable(error)) return "failed";
    contended.push({ part, error });
    return "contended";
  };

  return {
    contended,
    async attempt(part, work) {
      const since = performance.now();
      try {
        return { kind: "done", result: await work() };
      } catch (error) {
        if (isLockTimeout(error)) waitedMs += performance.now() - since;
        return { kind: await judged(part, error), error };
      }
    },
    async inTx(work) {
      for (let tries = 1; ; tries++) {
        try {
          return await inOneTx(pool, async (tx) => {
            if (waitedMs > PATIENCE_MS) await tx.query(`set local lock_timeout = ${MOMENT_MS}`);
            return work(tx);
          });
        } catch (error) {
          // Only who waited in vain for a lock would wait again.
          if (!isLostRace(error) || isLockTimeout(error) || tries === MAX_TRIES) throw error;
        }
      }
    },
  };
}
