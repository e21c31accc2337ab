import { z } from "zod";

/**
 * How long runs are kept, with all that belongs to them: one of a few times, because the runs of
 * each are partitions of their own. Days, by the way they are written.
 */
export const RETENTIONS = { "1d": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365, forever: 36_500 } as const;
export type Retention = keyof typeof RETENTIONS;

const NAMES = Object.keys(RETENTIONS) as Retention[];

export const RetentionField = z.enum(NAMES);

/** How so many days are written; a number of days that is none of them as it is. */
export function retentionText(days: number): string {
  return NAMES.find((name) => RETENTIONS[name] === days) ?? `${days}d`;
}

/**
 * Versions of a DAG that are kept for rollbacks, the latest ones; older ones stay as long as a run
 * of theirs does.
 */
export const KEPT_VERSIONS = 20;
