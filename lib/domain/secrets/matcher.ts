import type { Unit } from "./characters.ts";
import type { Form } from "./forms.ts";
import { afterDump, gapBytes, gapEnds } from "./gaps.ts";
import { createTrail, type Trail } from "./trail.ts";

/**
 * The length of the longest secret that begins at a place, 0 for none. `origin` is where `bytes` begin in all that is read. It is
 * asked for one place after another, and may be asked for the last one again with more bytes.
 */
export type Matcher = (bytes: Buffer, at: number, isLast: boolean, origin: number) => number;

/** The bytes end too early to tell. */
export const UNDECIDED = -1;

/**
 * More places than a form has reached at once by being printed in one way. Beyond it (a run of backslashes is itself, and half as many
 * in JSON) what was reached is hidden without looking on.
 */
const MAX_PLACES = 16;

/** Where a form may have got to: the places behind its units so far, and whether the bytes end within a way to go on. */
type Reached = { places: number[]; undecided: boolean };

/** By the bytes of first units. */
type Node = { next: Map<number, Node>; forms: Form[] };

/** Finds these forms: makes a matcher for each text or stream. */
export function createMatchers(forms: readonly Form[]): () => Matcher {
  const root: Node = { next: new Map(), forms: [] };
  for (const form of forms) for (const way of form.units[0]!.ways) nodeOf(root, way).forms.push(form);
  const isBegin = beginsOf(forms);
  return () => {
    const trails = new Map<Form, Trail>();
    return (bytes, at, isLast, origin) => {
      if (at + 1 < bytes.length && isBegin[bytes[at]! * 256 + bytes[at + 1]!] === 0) return 0;
      let length = 0;
      let node: Node | undefined = root;
      for (let place = at; ; place++) {
        for (const form of node.forms) {
          const found = lengthOf(form, trailOf(trails, form), { bytes, at, isLast, origin }, place);
          if (found === UNDECIDED) return UNDECIDED;
          length = Math.max(length, found);
        }
        if (node.next.size === 0) return length;
        if (place === bytes.length) return isLast ? length : UNDECIDED;
        node = node.next.get(bytes[place]!);
        if (node === undefined) return length;
      }
    };
  };
}

function trailOf(trails: Map<Form, Trail>, form: Form): Trail {
  const trail = trails.get(form) ?? createTrail(form.units);
  trails.set(form, trail);
  return trail;
}

/** Whether two bytes may begin a form. One look at them passes over almost every place of a log. */
function beginsOf(forms: readonly Form[]): Uint8Array {
  const begins = new Uint8Array(65_536);
  for (const { units, gap } of forms) {
    const seconds = [...(units[1]?.byFirst.keys() ?? []), ...(gap === "none" ? [] : gapBytes(gap))];
    for (const way of units[0]!.ways)
      for (const second of way.length > 1 ? [way[1]!] : seconds) begins[way[0]! * 256 + second] = 1;
  }
  return begins;
}

function nodeOf(root: Node, way: Buffer): Node {
  let node = root;
  for (const byte of way) {
    const next: Node = node.next.get(byte) ?? { next: new Map(), forms: [] };
    node.next.set(byte, next);
    node = next;
  }
  return node;
}

type Where = { bytes: Buffer; at: number; isLast: boolean; origin: number };

/** How long the form is that begins at `at`, and whose first unit ends at `place`. A shorter way to write it may be cut off by a longer one. */
function lengthOf({ units, gap }: Form, trail: Trail, { bytes, at, isLast, origin }: Where, place: number): number {
  const begin = trail.begin(origin + place);
  const reached: Reached = { places: [begin.place - origin], undecided: false };
  let isOnlyWay = true;
  let index = begin.units;
  for (; index < units.length && isFollowed(reached.places.length); index++) {
    const from = reached.places;
    reached.places = [];
    for (const end of from) {
      step(units[index]!, bytes, end, reached);
      if (gap !== "none") crossGap(units[index]!, gap, bytes, end, reached);
    }
    isOnlyWay &&= reached.places.length === 1 && !reached.undecided;
    if (isOnlyWay) trail.add(origin + reached.places[0]!);
  }
  const last = Math.max(0, ...reached.places);
  const tail = last > 0 && gap === "dump" ? afterDump(bytes, last) : { end: last, undecided: false };
  if ((reached.undecided || tail.undecided) && !isLast) return UNDECIDED;
  return last === 0 ? 0 : tail.end - at;
}

const isFollowed = (places: number): boolean => places > 0 && places <= MAX_PLACES;

function crossGap(unit: Unit, gap: "lines" | "dump", bytes: Buffer, from: number, reached: Reached): void {
  const { ends, undecided } = gapEnds(gap, bytes, from);
  if (undecided) reached.undecided = true;
  for (const end of ends) step(unit, bytes, end, reached);
}

function step(unit: Unit, bytes: Buffer, from: number, reached: Reached): void {
  if (from >= bytes.length) {
    reached.undecided = true;
    return;
  }
  for (const way of unit.byFirst.get(bytes[from]!) ?? []) {
    const there = Math.min(way.length, bytes.length - from);
    if (!isSame(bytes, from, way, there)) continue;
    if (there < way.length) reached.undecided = true;
    else if (!reached.places.includes(from + there)) reached.places.push(from + there);
  }
}

function isSame(bytes: Buffer, at: number, way: Buffer, length: number): boolean {
  for (let index = 1; index < length; index++) if (bytes[at + index] !== way[index]) return false;
  return true;
}
