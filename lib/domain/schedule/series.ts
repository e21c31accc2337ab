/** Instants in order: what a cron expression or an interval gives before calendars, blackouts and jitter. */
export type Series = {
  /** The first instant after `after`; undefined when none comes. */
  next(after: number): number | undefined;
  /** The last instant before `before`. */
  prev(before: number): number | undefined;
};

/** What is later could not be written down, and what is earlier was before there were time zones. */
const BEGIN = Date.UTC(1900, 0, 1);
const END = Date.UTC(9999, 11, 31);

/** The series between 1900 and 9999, where searches begin; an instant that is not one has no neighbours. */
export function withinReach({ next, prev }: Series): Series {
  return {
    next: (after) => (after <= END ? next(Math.max(after, BEGIN)) : undefined),
    prev: (before) => (before >= BEGIN ? prev(Math.min(before, END)) : undefined),
  };
}

/** Every `every` milliseconds of real time, `anchor` being one of them. */
export function intervalSeries(every: number, anchor: number): Series {
  return withinReach({
    next: (after) => anchor + (Math.floor((after - anchor) / every) + 1) * every,
    prev: (before) => anchor + (Math.ceil((before - anchor) / every) - 1) * every,
  });
}
