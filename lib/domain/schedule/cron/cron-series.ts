import type { LocalTimes } from "./local-times.ts";
import { type Series, withinReach } from "../series.ts";
import { DAY_MS, placeOf, type Zone } from "../zone.ts";

/**
 * When local times that match come about in a zone whose clocks are changed. The rule, after cron(8) of Debian:
 *
 * - *Fixed-time jobs*: every local time comes about once. One that falls into a gap is due at the first instant after it
 *   (several in one gap: once), one that comes twice is due the first time. However long the gap: also a whole day.
 * - *Wildcard jobs* follow real time: due whenever clocks show a local time that matches. In a gap none is missed, because
 *   none was shown; in an overlap both passes count.
 *
 * `Cron.isWildcard` says which is which.
 */
export function cronSeries(times: LocalTimes, zone: Zone, isWildcard: boolean): Series {
  return withinReach(isWildcard ? wildcardSeries(times, zone) : fixedSeries(times, zone));
}

/** No change moves clocks further. */
const LONGEST_MS = DAY_MS;

function fixedSeries(times: LocalTimes, zone: Zone): Series {
  return {
    next(after) {
      const local = times.next(shownBefore(zone, after) ?? after + zone.offsetAt(after) + 1);
      return local === undefined ? undefined : placeOf(zone, local).first;
    },
    prev(before) {
      const local = times.before(
        shownBefore(zone, before) ?? startOfGap(zone, before) ?? before + zone.offsetAt(before),
      );
      return local === undefined ? undefined : placeOf(zone, local).first;
    },
  };
}

/** In the second pass of an overlap: the local time up to which every one has been shown. */
function shownBefore(zone: Zone, at: number): number | undefined {
  const change = zone.changesIn(at - LONGEST_MS, at).findLast(({ before, after }) => after < before);
  return change !== undefined && at < change.at + change.before - change.after ? change.at + change.before : undefined;
}

/** At the first instant after a gap: the local time at which the gap begins. */
function startOfGap(zone: Zone, at: number): number | undefined {
  const change = zone.changesIn(at - 1, at)[0];
  return change !== undefined && change.after > change.before ? change.at + change.before : undefined;
}

/** More than changes can come between two points so near to each other. */
const MAX_STEPS = 64;

/** Between two points that are further apart than this, no change can bring back local times from before the first. */
const NEAR_MS = 3 * DAY_MS;

function wildcardSeries(times: LocalTimes, zone: Zone): Series {
  return {
    next(after) {
      // Everything up to `from` is known not to match.
      let from = after + 1;
      for (let step = 0; step < MAX_STEPS; step++) {
        const offset = zone.offsetAt(from);
        const local = times.next(from + offset);
        if (local === undefined) return undefined;
        const at = local - offset;
        const change = zone.changesIn(from, Math.min(at, from + NEAR_MS))[0];
        if (change !== undefined) from = change.at;
        else if (at > from + NEAR_MS) from = at - NEAR_MS + DAY_MS;
        else return at;
      }
      return undefined;
    },
    prev(before) {
      let to = before;
      for (let step = 0; step < MAX_STEPS; step++) {
        const offset = zone.offsetAt(to - 1);
        const local = times.before(to + offset);
        if (local === undefined) return undefined;
        const at = local - offset;
        const change = zone.changesIn(Math.max(at, to - 1 - NEAR_MS), to - 1).at(-1);
        if (change !== undefined) to = change.at;
        else if (at < to - NEAR_MS) to = at + NEAR_MS - DAY_MS;
        else return at;
      }
      return undefined;
    },
  };
}
