/**
 * A task instance's id is its run's id and its place in the run, packed into one bigint:
 * `run << 20 | slot`. Parents and children of a task are found by arithmetic instead of a lookup, the id
 * carries its partition, and a run needs no block of ids handed out beforehand.
 *
 * Ids are decimal strings in TypeScript (Postgres bigint; a JavaScript number would lose digits).
 */

const SLOT_BITS = 20n;

/** Task instances one run can hold: 2^20. */
export const MAX_TASKS_PER_RUN = 1 << 20;

/** Tasks a DAG can have: the slots from here on are for instances that are made while the run goes on. */
export const MAX_TASKS_PER_DAG = 1 << 19;

export function taskInstanceId(runId: string, slot: number): string {
  if (!Number.isInteger(slot) || slot < 0 || slot >= MAX_TASKS_PER_RUN) {
    throw new RangeError(`slot ${slot} is outside 0..${MAX_TASKS_PER_RUN - 1}`);
  }
  return String((BigInt(runId) << SLOT_BITS) | BigInt(slot));
}

export function runIdOf(taskInstanceIdText: string): string {
  return String(BigInt(taskInstanceIdText) >> SLOT_BITS);
}

export function slotOf(taskInstanceIdText: string): number {
  return Number(BigInt(taskInstanceIdText) & BigInt(MAX_TASKS_PER_RUN - 1));
}

/** Largest id that fits Postgres' bigint; anything above it cannot exist. */
const MAX_BIGINT = 2n ** 63n - 1n;

/** True for the decimal text of a positive bigint, the only form an id of ours has. */
export function isId(text: string): boolean {
  return /^[1-9][0-9]{0,18}$/.test(text) && BigInt(text) <= MAX_BIGINT;
}
