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

/** What people read of them, after "did not start". */
export const DROP_WORDS: Record<DropReason, string> = {
  MISSED: "missed, while nothing could start them or earlier runs filled the DAG's limit",
  TOO_MANY: "more than catchup makes up for",
  PAUSED: "due while the DAG was paused",
};

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
  /** Nothing is owed any more. */
  isAll: boolean;
};

/** A run that is no later than this was not missed, whatever the policy: failing over takes a moment. */
export const ON_TIME_MS = 10_000;

/** Under `none`, the last run is still started when it is no later than this: a restart takes its time. */
export const NONE_MS = 60_000;

/** So many runs of one schedule start at once; others get their turn before the rest. */
export const MAX_AT_ONCE = 100;

/** When there was no room, it is looked for again after this. */
export const NO_ROOM_MS = 5_000;

/** So many runs are on time at once at most; of more the policy decides. */
const MAX_ON_TIME = 1_000;

/** So many dropped runs of a stretch are counted. */
export const MAX_COUNTED = 10_000;

export type Circumstances = {
  catchup: CatchupLimit;
  /** The database's clock. */
  now: Date;
  /** How many more of its runs may be open. */
  room: number;
  /** How many may start at once, when that is fewer than usual. */
  atOnce?: number;
  /** The definition was another one up to then: all that was due by then is owed, also what was to start later, and nothing else. */
  until?: Date | undefined;
};

/** Pure: the same for every scheduler that looks at the same state. */
export function decide(schedule: CompiledSchedule, state: ScheduleState, circumstances: Circumstances): Decision {
  const { now, room, atOnce = MAX_AT_ONCE } = circumstances;
  const most = Math.max(0, Math.min(room, atOnce));
  const { steps, last } = owed(schedule, state, circumstances);
  const { fires, dropped, lastDue, isAll } = take(steps, most, state.lastDue);
  const position = later(state.position, isAll ? last : lastDue);
  const following = schedule.next(position);
  const againAt = new Date(now.getTime() + (most < atOnce ? NO_ROOM_MS : 0));
  return {
    fires,
    dropped,
    state: {
      position,
      lastDue,
      // Of a pause that goes on beyond `until`, the rest is left out by the definition that follows.
      skip: isAll && state.skip !== undefined && state.skip.to <= (circumstances.until ?? now) ? undefined : state.skip,
    },
    next: following && { due: following.due, at: isAll ? following.at : againAt },
    isAll,
  };
}

/** As much of what is owed, in order, as so many runs allow. */
function take(
  steps: readonly Step[],
  most: number,
  before: Date | undefined,
): Pick<Decision, "fires" | "dropped" | "isAll"> & { lastDue: Date | undefined } {
  const fires: Fire[] = [];
  const dropped: Dropped[] = [];
  let lastDue = before;
  for (const step of steps) {
    if ("reason" in step) {
      dropped.push(step);
      lastDue = step.lastDue;
    } else {
      if (fires.length === most) return { fires, dropped, lastDue, isAll: false };
      fires.push(fires.length + dropped.length === 0 ? sinceLast(step, before) : step);
      lastDue = step.due;
    }
  }
  return { fires, dropped, lastDue, isAll: true };
}

const later = (a: Date, b: Date | undefined): Date => (b === undefined || b < a ? a : b);

/** An interval begins where the last one ended: the schedule may have been changed in between. */
export function sinceLast(fire: Fire, lastDue: Date | undefined): Fire {
  if (lastDue === undefined || lastDue.getTime() === fire.logicalDate.getTime()) return fire;
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
  state: ScheduleState,
  circumstances: Circumstances,
): { steps: Step[]; last: Date | undefined } {
  const newest = newestReady(schedule, state.position, circumstances);
  if (newest === undefined) return { steps: [], last: undefined };
  const backwards: Step[] = [];
  const keeps = keeper(circumstances);
  for (const { from, to, isSkipped } of stretchesOf(state, newest.due)) {
    let fire = from < to ? schedule.prev(new Date(to.getTime() + 1)) : undefined;
    for (; !isSkipped && isAfter(fire, from) && keeps(fire); fire = schedule.prev(fire.due)) backwards.push(fire);
    if (isAfter(fire, from))
      backwards.push(droppedOf(schedule, from, fire, reasonOf(isSkipped, circumstances.catchup)));
  }
  return { steps: backwards.toReversed(), last: newest.due };
}

const isAfter = (fire: Fire | undefined, from: Date): fire is Fire => fire !== undefined && fire.due > from;

function reasonOf(isSkipped: boolean, catchup: CatchupLimit): DropReason {
  if (isSkipped) return "PAUSED";
  return typeof catchup === "object" ? "TOO_MANY" : "MISSED";
}

/** Asked from the latest run backwards, which ones start; after the first that does not, no other does. */
function keeper({ catchup, now }: Circumstances): (fire: Fire) => boolean {
  let kept = 0;
  const most = typeof catchup === "object" ? catchup.all : 1;
  return ({ at }) => {
    const late = now.getTime() - at.getTime();
    const isOnTime = late <= ON_TIME_MS && kept < MAX_ON_TIME;
    const isKept = isOnTime || (kept < most && (catchup !== "none" || late <= NONE_MS));
    if (isKept) kept += 1;
    return isKept;
  };
}

/** From the latest back to the position: what is after the pause, in it, and before it. */
function stretchesOf({ position, skip }: ScheduleState, last: Date): { from: Date; to: Date; isSkipped: boolean }[] {
  if (skip === undefined || skip.to <= position) return [{ from: position, to: last, isSkipped: false }];
  return [
    { from: later(position, skip.to), to: last, isSkipped: false },
    { from: later(position, skip.from), to: earlier(skip.to, last), isSkipped: true },
    { from: position, to: earlier(skip.from, last), isSkipped: false },
  ];
}

const earlier = (a: Date, b: Date): Date => (a < b ? a : b);

/** The last run after the position whose time to start has come. */
function newestReady(schedule: CompiledSchedule, position: Date, { now, until }: Circumstances): Fire | undefined {
  let fire = schedule.prev(new Date((until ?? now).getTime() + 1));
  while (until === undefined && isAfter(fire, position) && fire.at > now) fire = schedule.prev(fire.due);
  return isAfter(fire, position) ? fire : undefined;
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
