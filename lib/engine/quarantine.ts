import { isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { endQuarantine, putInQuarantine, type QuarantinedDuty, readQuarantine } from "#lib/db/quarantine.ts";
import { isLostRace } from "#lib/db/tx.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "./deps.ts";

/**
 * Does `work` for the items of a duty together, as sets are done. When that fails, and not because the database is away or
 * busy, halves of them are tried, down to the single item that fails by itself: it is left out for a time, which grows, and
 * reported, and the duty goes on with the others. One that works again is forgotten. `work` must leave nothing behind when it fails.
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
  const done = await workable(deps, duty, tried, keyOf, work);
  const healed = done.map(keyOf).filter((key) => known.has(key));
  if (healed.length === 0) return;
  await endQuarantine(deps.pool, duty, healed);
  deps.log.info({ duty, keys: healed }, "what was in quarantine works again");
}

/** Answers the items for which it worked. */
async function workable<T>(
  deps: EngineDeps,
  duty: QuarantinedDuty,
  items: readonly T[],
  keyOf: (item: T) => string,
  work: (items: readonly T[]) => Promise<unknown>,
): Promise<readonly T[]> {
  if (items.length === 0) return [];
  try {
    await work(items);
    return items;
  } catch (error) {
    if (isDatabaseUnreachable(error) || isLostRace(error)) throw error;
    if (items.length === 1) {
      await quarantine(deps, duty, keyOf(items[0]!), error);
      return [];
    }
    const middle = Math.ceil(items.length / 2);
    const first = await workable(deps, duty, items.slice(0, middle), keyOf, work);
    return [...first, ...(await workable(deps, duty, items.slice(middle), keyOf, work))];
  }
}

/** Leaves an item of a duty out for a time, because of this error. */
export async function quarantine(deps: EngineDeps, duty: QuarantinedDuty, key: string, error: unknown): Promise<void> {
  const message = messageOf(error);
  const { isNew } = await putInQuarantine(deps.pool, duty, key, message);
  if (isNew) deps.log.error({ duty, key, error: message }, "a row breaks a duty; it is left out for a time");
}
