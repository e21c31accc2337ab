/** Heartbeats a lease lasts: one or two lost packets must not cost a worker its attempts. */
const BEATS_PER_LEASE = 6;

export const HEARTBEAT_MS = 5_000;
export const LEASE_MS = BEATS_PER_LEASE * HEARTBEAT_MS;

/**
 * A worker that has not been confirmed for so long kills what it runs: its view of the lease ends before the
 * database's does, so that no attempt runs twice at once.
 */
export const SELF_FENCE_MS = 20_000;

/**
 * Workers that a task may lose; with the next one it is taken for the cause. Those before it is suspect it may have lost because
 * of a neighbour; after that it was the only suspect one of its worker. More than what machines that restart cost a long task.
 */
export const LOST_ALLOWANCE = 5;
