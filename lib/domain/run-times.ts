/** What a run is about: a moment, and the time from one to another. These are the same where it is about no time. */
export type RunTimes<T = Date> = { logicalDate: T; intervalStart: T; intervalEnd: T };

/** The same as ISO texts, which is how tasks see them. */
export function isoTimes({ logicalDate, intervalStart, intervalEnd }: RunTimes): RunTimes<string> {
  return {
    logicalDate: logicalDate.toISOString(),
    intervalStart: intervalStart.toISOString(),
    intervalEnd: intervalEnd.toISOString(),
  };
}
