/**
 * Two instants that the worker's threads share, in nanoseconds of the system's steady clock: it is the same in both,
 * and neither has to wait for the other to read it.
 */
export type Clocks = BigInt64Array<SharedArrayBuffer>;

const CONFIRMED = 0;
const ALIVE = 1;

/** Both begin at `confirmedMsAgo` milliseconds ago. */
export function createClocks(confirmedMsAgo: number): Clocks {
  const clocks = new BigInt64Array(new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT));
  return clocks.fill(process.hrtime.bigint() - BigInt(Math.round(confirmedMsAgo * 1e6)));
}

/** The database has renewed the leases in answer to what was sent at `sentAt`: our view of them ends before its own. */
export function setConfirmed(clocks: Clocks, sentAt: bigint): void {
  Atomics.store(clocks, CONFIRMED, sentAt);
}

/** Milliseconds since the leases were last known to be ours. */
export const confirmedAge = (clocks: Clocks): number => ageOf(clocks, CONFIRMED);

/** The worker's event loop turns. */
export function setAlive(clocks: Clocks): void {
  Atomics.store(clocks, ALIVE, process.hrtime.bigint());
}

/** Milliseconds since the worker's event loop was last seen to turn. */
export const aliveAge = (clocks: Clocks): number => ageOf(clocks, ALIVE);

function ageOf(clocks: Clocks, which: number): number {
  return Number(process.hrtime.bigint() - Atomics.load(clocks, which)) / 1e6;
}
