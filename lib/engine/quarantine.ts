import { isDatabaseError, isDatabaseUnreachable } from "#lib/db/database-errors.ts";
import { respondsWithin } from "#lib/db/pool.ts";
import { endQuarantine, putInQuarantine, type QuarantinedDuty, readQuarantine } from "#lib/db/quarantine.ts";
import { isLostRace } from "#lib/db/tx.ts";
import { messageOf } from "#lib/domain/errors.ts";
import type { EngineDeps } from "./deps.ts";

/**
 * Does a set of items. When it fails it leaves nothing behind, not even a lock that is just being given up: a statement that failed is
 * heard of before it is rolled back, so it is in a transaction (`inTx`) or waited for. Answers the keys of those done, when it may have
 * passed some over.
 */
type Work<T> = (items: readonly T[]) => Promise<readonly string[] | void>;

type Failed<T> = { item: T; error: unknown };

/** `contended`: an item lost its races with others, which is neither its fault nor a reason to keep the rest from being done. */
type Outcome<T> = { done: readonly string[]; failed: readonly Failed<T>[]; contended?: Error | undefined };

/**
 * Does `work` for the items of a duty together, as sets are done. When that fails through the data, halves of them are tried,
 * down to the single item that fails by itself: it is left out for a time, which grows, and reported, and the duty goes on with the
 * others. One that works again is forgotten. An error that speaks of no row (the database is away, a right is missing, every item
 * fails alike) is thrown, and nothing is blamed for it. So is, after the rest is done, that an item is locked by others.
 */
export async function isolating<T>(
  deps: EngineDeps,
  duty: QuarantinedDuty,
  items: readonly T[],
  keyOf: (item: T) => string,
  work: Work<T>,
): Promise<void> {
  const doInHalves = (some: readonly T[]): Promise<Outcome<T>> => inHalves(some, keyOf, work);
  await leavingOut(deps, duty, items, keyOf, doInHalves);
}

/** The same for items of which each is a transaction of its own. */
export async function isolatingEach<T>(
  deps: EngineDeps,
  duty: QuarantinedDuty,
  items: readonly T[],
  keyOf: (item: T) => string,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const workOnOne = async ([item]: readonly T[]): Promise<void> => void (await work(item!));
  await leavingOut(
    deps,
    duty,
    items,
    keyOf,
    async (some) => {
      const outcomes: Outcome<T>[] = [];
      for (const item of some) {
        outcomes.push(await alone(item, keyOf, workOnOne));
        const { done, failed } = together(outcomes);
        // Two that take too long, and none that does not: either the database is slow, and trying all others takes minutes, or
        // these are, and would keep all others from being done in every pass.
        const areSlow = done.length === 0 && failed.length > 1 && failed.every(({ error }) => isTimeout(error));
        if (areSlow && !(await respondsWithin(deps.pool, SOON_MS))) throw failed[0]!.error;
      }
      const outcome = together(outcomes);
      // What speaks of no row is the item's fault only where another item passes.
      const foreign = outcome.failed.find(({ error }) => !isOfTheData(error));
      if (foreign !== undefined && outcome.done.length === 0) throw foreign.error;
      return outcome;
    },
    isTimeout,
  );
}

/** One item in its own transaction: whatever its error, the others are still done, unless the database is away. */
async function alone<T>(item: T, keyOf: (item: T) => string, work: Work<T>): Promise<Outcome<T>> {
  try {
    return await inHalves([item], keyOf, work);
  } catch (error) {
    if (isDatabaseUnreachable(error)) throw error;
    return { done: [], failed: [{ item, error }] };
  }
}

const SOON_MS = 1_000;

async function leavingOut<T>(
  deps: EngineDeps,
  duty: QuarantinedDuty,
  items: readonly T[],
  keyOf: (item: T) => string,
  doThem: (items: readonly T[]) => Promise<Outcome<T>>,
  /** An error that is the item's, also when it is all items'. */
  isOfTheItem: (error: unknown) => boolean = () => false,
): Promise<void> {
  if (items.length === 0) return;
  const known = await readQuarantine(deps.pool, duty);
  const { done, failed, contended } = await doThem(items.filter((item) => known.get(keyOf(item))?.isHeld !== true));
  const [first] = failed;
  const isAlike = failed.every(({ error }) => messageOf(error) === messageOf(first?.error));
  if (first !== undefined && done.length === 0 && failed.length > 1 && isAlike && !isOfTheItem(first.error))
    throw first.error;
  for (const { item, error } of failed) await quarantine(deps, duty, keyOf(item), error);
  const healed = done.filter((key) => known.has(key));
  if (healed.length > 0) {
    await endQuarantine(deps.pool, duty, healed);
    deps.log.info({ duty, keys: healed }, "what was in quarantine works again");
  }
  if (contended !== undefined) throw contended;
}

/** Throws an error that is not one of the data. */
async function inHalves<T>(items: readonly T[], keyOf: (item: T) => string, work: Work<T>): Promise<Outcome<T>> {
  if (items.length === 0) return { done: [], failed: [] };
  try {
    return { done: (await patiently(items, work)) ?? items.map(keyOf), failed: [] };
  } catch (error) {
    const isRace = isLostRace(error);
    if (!isRace && !isOfTheData(error)) throw error;
    if (items.length > 1) {
      const middle = Math.ceil(items.length / 2);
      const first = await inHalves(items.slice(0, middle), keyOf, work);
      return together([first, await inHalves(items.slice(middle), keyOf, work)]);
    }
    return isRace ? { done: [], failed: [], contended: error } : { done: [], failed: [{ item: items[0]!, error }] };
  }
}

/** An item that takes too long by itself has another try: the machine may have been busy. */
async function patiently<T>(items: readonly T[], work: Work<T>): Promise<readonly string[] | void> {
  try {
    return await work(items);
  } catch (error) {
    if (items.length > 1 || !isTimeout(error)) throw error;
    return work(items);
  }
}

function together<T>(outcomes: readonly Outcome<T>[]): Outcome<T> {
  return {
    done: outcomes.flatMap(({ done }) => done),
    failed: outcomes.flatMap(({ failed }) => failed),
    contended: outcomes.find(({ contended }) => contended !== undefined)?.contended,
  };
}

/** A statement took longer than any may: `statement_timeout`. */
function isTimeout(error: unknown): boolean {
  return isDatabaseError(error) && error.code === "57014";
}

/**
 * Of Postgres' errors: data it cannot hold (22), what breaks a constraint (23), what is too much for a limit (54), what a
 * function raises (P0), and what takes too long; of others, all but those of the connection.
 */
export function isOfTheData(error: unknown): boolean {
  if (isDatabaseUnreachable(error)) return false;
  return isDatabaseError(error) ? /^(22|23|54|P0|57014)/.test(error.code ?? "") : true;
}

/** Leaves an item of a duty out for a time, because of this error. */
export async function quarantine(deps: EngineDeps, duty: QuarantinedDuty, key: string, error: unknown): Promise<void> {
  const message = messageOf(error);
  const { isNew } = await putInQuarantine(deps.pool, duty, key, message);
  if (isNew) deps.log.error({ duty, key, error: message }, "a row breaks a duty; it is left out for a time");
}
