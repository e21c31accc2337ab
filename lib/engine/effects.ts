/**
 * What a committed transition has made possible. A transition returns its effects and carries none of
 * them out; `followUp` does, for all of them alike.
 */
export type Effects = {
  /** Runs whose state or tasks changed: pages that show them are told. */
  readonly changedRuns: readonly string[];
  /** Lanes in which attempts were queued, by name: their workers are told. */
  readonly lanes: readonly string[];
  /** Runs in which an outcome may decide tasks whose rules look at more than successes. */
  readonly unsettledRuns: readonly string[];
  /** DAGs that may have room for a queued run. */
  readonly dagsWithRoom: readonly string[];
  /** Backfills that may have room for a queued run, or may be complete. */
  readonly backfills: readonly string[];
  /** A task became ready, or a slot or a limit has room again. */
  readonly wantsAdmission: boolean;
  /** The outbox has calls to dispatch. */
  readonly hasCallbacks: boolean;
  /** Attempts were taken from their workers, which should learn of it before their next heartbeat. */
  readonly hasFenced: boolean;
};

export const NO_EFFECTS: Effects = {
  changedRuns: [],
  lanes: [],
  unsettledRuns: [],
  dagsWithRoom: [],
  backfills: [],
  wantsAdmission: false,
  hasCallbacks: false,
  hasFenced: false,
};

/** Effects of which only some are there. */
export function effects(some: Partial<Effects>): Effects {
  return { ...NO_EFFECTS, ...some };
}

/** The effects of several transitions, each run, DAG and backfill once. */
export function mergeEffects(all: readonly Effects[]): Effects {
  if (all.length === 1) return all[0]!;
  const union = (of: (one: Effects) => readonly string[]): string[] => [...new Set(all.flatMap(of))];
  return {
    changedRuns: union((one) => one.changedRuns),
    lanes: union((one) => one.lanes),
    unsettledRuns: union((one) => one.unsettledRuns),
    dagsWithRoom: union((one) => one.dagsWithRoom),
    backfills: union((one) => one.backfills),
    wantsAdmission: all.some((one) => one.wantsAdmission),
    hasCallbacks: all.some((one) => one.hasCallbacks),
    hasFenced: all.some((one) => one.hasFenced),
  };
}

/** True when nothing is left to carry out. */
export function isEmpty(effects: Effects): boolean {
  return Object.values(effects).every((value) => (typeof value === "boolean" ? !value : value.length === 0));
}
