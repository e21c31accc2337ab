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

/** The trail of a form of these units. It takes four bytes for each unit that is followed. */
export function createTrail(units: readonly Unit[]): Trail {
  let ends: number[] = [];
  // Where the units of the form that was begun last stand in `ends`.
  let first = 0;
  let same: Uint32Array | undefined;
  return {
    begin(place) {
      const index = indexOf(ends, first, place);
      const shift = index - first;
      same ??= ends.length - first > 1 ? sameAsBegin(units) : undefined;
      const known = index < 0 || same === undefined ? 0 : Math.min(same[shift]!, ends.length - index);
      if (known === 0) {
        ends = [place];
        first = 0;
        return { units: 1, place };
      }
      first = index;
      ends.length = first + known;
      if (first > units.length) {
        ends = ends.slice(first);
        first = 0;
      }
      return { units: known, place: ends.at(-1)! };
    },
    add: (place) => ends.push(place),
  };
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
