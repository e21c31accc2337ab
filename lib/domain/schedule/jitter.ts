import { sha256 } from "../canonical.ts";

/** A share of 1 (never all of it) that is the same for everybody who computes it for this DAG and instant. */
export function jitterShare(dagId: string, at: number): number {
  return Number.parseInt(sha256(`${dagId}\n${new Date(at).toISOString()}`).slice(0, 12), 16) / 2 ** 48;
}

/** How late a run starts, in whole seconds: less than `jitterMs`, and less than the time to the next one. */
export function jitterMs(share: number, jitter: number, room: number): number {
  return Math.floor((share * Math.min(jitter, room)) / 1_000) * 1_000;
}
