import { durationMs } from "./model/duration.ts";
import { storableText } from "./storable.ts";

/** "Not yet": what a task says that is to look again later, and for people what it waits for. */
export type Deferral = { afterMs: number; reason: string };

/** A task that looks more often keeps admission and workers busy with nothing. */
export const MIN_LOOK_MS = 1_000;
/** It stands in lines and tables. */
const MAX_REASON_LENGTH = 500;

export type LookVerdict = { again: true; afterMs: number; reason: string } | { again: false; error: string };

/**
 * When an attempt that says "not yet" looks again. Its `timeout` bounds the wait: the last look is when that has passed
 * since the first one began, and one that is later, because the DAG was paused or nobody had a slot, is the last as well.
 * `waitedMs` is measured by one clock alone; what was asked for may be any number.
 */
export function nextLook(timeout: string, waitedMs: number, { afterMs, reason }: Deferral): LookVerdict {
  const leftMs = durationMs(timeout) - waitedMs;
  const said = storableText(reason.slice(0, MAX_REASON_LENGTH));
  if (leftMs <= 0) return { again: false, error: `it waited for its timeout of ${timeout}, and still: ${said}` };
  // Also for what is no number.
  const asked = afterMs > MIN_LOOK_MS ? afterMs : MIN_LOOK_MS;
  return { again: true, afterMs: Math.ceil(Math.max(MIN_LOOK_MS, Math.min(asked, leftMs))), reason: said };
}
