import { isDatabaseError, isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { endQuarantine, putInQuarantine, type QuarantinedDuty, readQuarantine } from "#lib/db/quarantine.ts";
import { isLostRace } from "#lib/db/tx.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "./deps.ts";

/**
 * Does `work` for the items of a duty together, as sets are done. When that fails through the data, halves of them are tried,
 * down to the single item that fails by itself: it is left out for a time, which grows, and reported, and the duty goes on with the
 * others. One that works again is forgotten. An error that speaks of no row (the database is away or busy, a right is missing, every
 * item fails alike) is thrown, and nothing is blamed for it. `work` must leave nothing behind when it fails, not even a lock that is
 * just being given up: a statement that failed is rolled back only after it was heard of, so it is in a transaction (`inTx`).
 */
export async function isolating<T>(
  deps: EngineDeps,
  duty: QuarantinedDuty,
  items: readonly T[],
  keyOf: (item: T) => string,
  work: (items: readonly T[]) => Promise<unknown>,
): Promise<void> {
  if (items.length === 0) return;
  const known = await readQuarantine(deps.pool, duty);
  const tried = items.filter((item) => known.get(keyOf(item))?.isHeld !== true);
  const { done, failed } = await divided(tried, work);
  const [first] = failed;
  const isAlike = failed.every(({ error }) => messageOf(error) === messageOf(first?.error));
  if (first !== undefined && done.length === 0 && failed.length > 1 && isAlike) throw first.error;
  for (const { item, error } of failed) await quarantine(deps, duty, keyOf(item), error);
  const healed = done.map(keyOf).filter((key) => known.has(key));
  if (healed.length === 0) return;
  await endQuarantine(deps.pool, duty, healed);
  deps.log.info({ duty, keys: healed }, "what was in quarantine works again");
}

type Divided<T> = { done: readonly T[]; failed: readonly { item: T; error: unknown }[] };

/** The items for which it worked, and those that fail by themselves. Throws an error that is not one of the data. */
async function divided<T>(items: readonly T[], work: (items: readonly T[]) => Promise<unknown>): Promise<Divided<T>> {
  if (items.length === 0) return { done: [], failed: [] };
  try {
    await work(items);
    return { done: items, failed: [] };
  } catch (error) {
    if (!isOfTheData(error)) throw error;
    if (items.length === 1) return { done: [], failed: [{ item: items[0]!, error }] };
    const middle = Math.ceil(items.length / 2);
    const first = await divided(items.slice(0, middle), work);
    const second = await divided(items.slice(middle), work);
    return { done: [...first.done, ...second.done], failed: [...first.failed, ...second.failed] };
  }
}

/**
 * Of Postgres' errors: data it cannot hold (22), what breaks a constraint (23), what is too much for a limit (54), and what a
 * function raises (P0); of others, all but those of the connection.
 */
function isOfTheData(error: unknown): boolean {
  if (isDatabaseUnreachable(error) || isLostRace(error)) return false;
  return isDatabaseError(error) ? /^(22|23|54|P0)/.test(error.code ?? "") : true;
}

/** Leaves an item of a duty out for a time, because of this error. */
export async function quarantine(deps: EngineDeps, duty: QuarantinedDuty, key: string, error: unknown): Promise<void> {
  const message = messageOf(error);
  const { isNew } = await putInQuarantine(deps.pool, duty, key, message);
  if (isNew) deps.log.error({ duty, key, error: message }, "a row breaks a duty; it is left out for a time");
}
