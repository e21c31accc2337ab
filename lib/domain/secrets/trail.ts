import type { Unit } from "./characters.ts";

/**
 * Where the units of a form ended when it was last followed, as long as there was one place for each. A form that resembles itself is
 * begun again and again in a text that resembles it: what was followed once is not followed again, so that each byte costs
 * the same however long the form is (the Z algorithm, https://cp-algorithms.com/string/z-function.html, on units).
 */
export type Trail = {
  /** The form begins, with its first unit ending at `place`: how many of its units are known to be there, and where they end. */
  begin(place: number): { units: number; place: number };
  /** The next unit ends at `place`, and nowhere else. */
  add(place: number): void;
};

/** A byte may be shown in four columns, so four trails that have nothing in common are kept. */
const TRAILS = 4;

/** The units that are at the beginning of a form end at `ends`, from its item `first` on. */
type Known = { ends: number[]; first: number };

/** The trail of a form of these units. It takes some bytes for each unit that is followed. */
export function createTrail(units: readonly Unit[]): Trail {
  const trails: Known[] = [];
  let newest: Known = { ends: [], first: 0 };
  let same: Uint32Array | undefined;
  return {
    begin(place) {
      for (const trail of trails) {
        const index = indexOf(trail.ends, trail.first, place);
        if (index < 0) continue;
        same ??= sameAsBegin(units);
        const count = Math.min(same[index - trail.first]!, trail.ends.length - index);
        if (count === 0) continue;
        newest = trail;
        return goOnAt(trail, index, count);
      }
      newest = { ends: [place], first: 0 };
      trails.push(newest);
      if (trails.length > TRAILS) trails.shift();
      return { units: 1, place };
    },
    add: (place) => newest.ends.push(place),
  };
}

function goOnAt(trail: Known, index: number, units: number): { units: number; place: number } {
  if (trail.ends.length > index + units) trail.ends.length = index + units;
  trail.first = index;
  // As many are moved as were left behind, at most.
  if (trail.first > trail.ends.length / 2) {
    trail.ends = trail.ends.slice(trail.first);
    trail.first = 0;
  }
  return { units, place: trail.ends.at(-1)! };
}

/** Where `place` is in the ascending places from `first` on, or -1. */
function indexOf(ends: readonly number[], first: number, place: number): number {
  let low = first;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! < place) low = middle + 1;
    else high = middle;
  }
  return ends[low] === place ? low : -1;
}

/** For each unit: how many from it on are the same as the first ones. */
function sameAsBegin(units: readonly Unit[]): Uint32Array {
  const same = new Uint32Array(units.length);
  same[0] = units.length;
  let from = 0;
  let until = 0;
  for (let at = 1; at < units.length; at++) {
    let length = at < until ? Math.min(until - at, same[at - from]!) : 0;
    while (at + length < units.length && units[length] === units[at + length]) length++;
    same[at] = length;
    if (at + length > until) [from, until] = [at, at + length];
  }
  return same;
}
