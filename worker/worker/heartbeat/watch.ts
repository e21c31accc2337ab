import { SELF_FENCE_MS } from "#lib/engine/lease.ts";
import { aliveAge, type Clocks, confirmedAge } from "./clocks.ts";

/** An event loop that does not turn for so long has hung up. */
const STUCK_MS = 60_000;
/** The worker fences itself within a turn of its loop; one that has not by then cannot. */
const FENCE_WITHIN_MS = 5_000;
/** Looks in a row: after a machine has slept both ages are large, and the first look comes before anybody could act. */
const LOOKS = 3;

/** Asked once a second: why the process must end now, if it must. */
export function createWatch(clocks: Clocks): (holdsAttempts: boolean) => string | undefined {
  let bad = 0;
  return (holdsAttempts) => {
    const why = trouble(clocks, holdsAttempts);
    bad = why === undefined ? 0 : bad + 1;
    return bad >= LOOKS ? why : undefined;
  };
}

function trouble(clocks: Clocks, holdsAttempts: boolean): string | undefined {
  const silent = Math.round(aliveAge(clocks) / 1_000);
  if (aliveAge(clocks) > STUCK_MS) return `its event loop has been stuck for ${silent} s`;
  const isFenceDue = holdsAttempts && confirmedAge(clocks) > SELF_FENCE_MS + FENCE_WITHIN_MS;
  if (isFenceDue && aliveAge(clocks) > FENCE_WITHIN_MS)
    return `its leases could not be renewed, and its event loop, stuck for ${silent} s, does not stop its tasks`;
  return undefined;
}
