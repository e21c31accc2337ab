import type { CompiledSchedule, Fire } from "./compile.ts";

/**
 * What becomes of the runs that a schedule owes. In the usual case that is one, just now; after an outage, a pause or
 * a jump of the clock it may be millions, and the catch-up policy says which of them start.
 */

/** `all` with how many of them at most. */
export type CatchupLimit = "none" | "latest" | { all: number };

/** Where a schedule stands. `skip`: nothing that was due after `from`, up to and with `to`, is made up for. */
export type ScheduleState = {
  /** What was due up to here is done with. */
  position: Date;
  /** The last instant that was; undefined when there has been none. */
  lastDue: Date | undefined;
  skip: { from: Date; to: Date } | undefined;
};

/** MISSED: nothing could start it in time. TOO_MANY: more than the policy's limit. PAUSED: due while its DAG was paused. */
export const DROP_REASONS = ["MISSED", "TOO_MANY", "PAUSED"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Runs that will never start; `runs` is the least number of them when there are very many. */
export type Dropped = { reason: DropReason; runs: number; firstDue: Date; lastDue: Date };

export type Decision = {
  /** To be started, in order; never more than there is room for, nor than `MAX_AT_ONCE`. */
  fires: Fire[];
  dropped: Dropped[];
  /** Where the schedule stands then. */
  state: ScheduleState;
  /** What comes next, and when that is to be looked at; undefined when nothing comes any more. */
  next: { due: Date; at: Date } | undefined;
};

/** A run that is no later than this was not missed, whatever the policy: failing over takes a moment. */
export const ON_TIME_MS = 10_000;

/** Under `none`, the last run is still started when it is no later than this: a restart takes its time. */
export const NONE_MS = 60_000;

/** So many runs of one schedule start at once; others get their turn before the rest. */
export const MAX_AT_ONCE = 100;

/** When there was no room, it is looked for again after this. */
export const NO_ROOM_MS = 5_000;

/** So many dropped runs of a stretch are counted. */
export const MAX_COUNTED = 100_000;

export type Circumstances = {
  catchup: CatchupLimit;
  /** The database's clock. */
  now: Date;
  /** How many more of its runs may be open. */
  room: number;
};

/** Pure: the same for every scheduler that looks at the same state. */
export function decide(schedule: CompiledSchedule, state: ScheduleState, circumstances: Circumstances): Decision {
  const { now } = circumstances;
  const { steps, last } = owed(schedule, state, circumstances);
  const most = Math.max(0, Math.min(circumstances.room, MAX_AT_ONCE));
  const fires: Fire[] = [];
  const dropped: Dropped[] = [];
  let lastDue = state.lastDue;
  let isAll = true;
  for (const step of steps) {
    if ("reason" in step) dropped.push(step);
    else if (fires.length < most) fires.push(sinceLast(step, fires.length === 0 ? state.lastDue : undefined));
    else {
      isAll = false;
      break;
    }
    lastDue = "reason" in step ? step.lastDue : step.due;
  }
  const done = isAll ? (last ?? state.position) : (later(state.position, lastDue) ?? state.position);
  const following = schedule.next(done);
  const again = new Date(now.getTime() + (most < MAX_AT_ONCE ? NO_ROOM_MS : 0));
  return {
    fires,
    dropped,
    state: {
      position: done,
      lastDue,
      skip: isAll && state.skip !== undefined && state.skip.to <= now ? undefined : state.skip,
    },
    next: following && { due: following.due, at: isAll ? following.at : again },
  };
}

const later = (a: Date, b: Date | undefined): Date => (b === undefined || b < a ? a : b);

/** An interval begins where the last one ended also when the schedule has been changed in between. */
function sinceLast(fire: Fire, lastDue: Date | undefined): Fire {
  if (lastDue === undefined || lastDue <= fire.logicalDate) return fire;
  return { ...fire, logicalDate: lastDue, interval: { start: lastDue, end: fire.interval.end } };
}

/** A run to start, or a stretch of runs that are not. */
type Step = Fire | Dropped;

/**
 * All that is owed, in order. Searched backwards from now, because of a long time only the latest runs matter: what is
 * left out is counted up to a limit and then jumped over.
 */
function owed(
  schedule: CompiledSchedule,
  { position, skip }: ScheduleState,
  { catchup, now }: Circumstances,
): { steps: Step[]; last: Date | undefined } {
  const newest = newestReady(schedule, position, now);
  if (newest === undefined) return { steps: [], last: undefined };
  const stretches =
    skip === undefined || skip.to <= position
      ? [{ from: position, to: newest.due, isSkipped: false }]
      : [
          { from: later(position, skip.to), to: newest.due, isSkipped: false },
          { from: later(position, skip.from), to: earlier(skip.to, newest.due), isSkipped: true },
          { from: position, to: earlier(skip.from, newest.due), isSkipped: false },
        ];
  const backwards: Step[] = [];
  let kept = 0;
  const keeps = ({ at }: Fire): boolean => {
    const late = now.getTime() - at.getTime();
    if (late <= ON_TIME_MS) return true;
    if (typeof catchup === "object") return kept < catchup.all;
    return kept === 0 && (catchup === "latest" || late <= NONE_MS);
  };
  for (const { from, to, isSkipped } of stretches) {
    let fire = from < to ? schedule.prev(new Date(to.getTime() + 1)) : undefined;
    for (; !isSkipped && fire !== undefined && fire.due > from && keeps(fire); fire = schedule.prev(fire.due)) {
      backwards.push(fire);
      kept += 1;
    }
    const reason = isSkipped ? "PAUSED" : typeof catchup === "object" ? "TOO_MANY" : "MISSED";
    if (fire !== undefined && fire.due > from) backwards.push(droppedOf(schedule, from, fire, reason));
  }
  return { steps: backwards.toReversed(), last: newest.due };
}

const earlier = (a: Date, b: Date): Date => (a < b ? a : b);

/** The last run after the position whose time to start has come. */
function newestReady(schedule: CompiledSchedule, position: Date, now: Date): Fire | undefined {
  let fire = schedule.prev(new Date(now.getTime() + 1));
  while (fire !== undefined && fire.due > position && fire.at > now) fire = schedule.prev(fire.due);
  return fire !== undefined && fire.due > position ? fire : undefined;
}

/** Everything after `from`, up to and with `last`. */
function droppedOf(schedule: CompiledSchedule, from: Date, last: Fire, reason: DropReason): Dropped {
  let runs = 1;
  let first = last;
  while (runs < MAX_COUNTED) {
    const before = schedule.prev(first.due);
    if (before === undefined || before.due <= from) break;
    first = before;
    runs += 1;
  }
  if (runs === MAX_COUNTED) first = schedule.next(from) ?? first;
  return { reason, runs, firstDue: first.due, lastDue: last.due };
}
