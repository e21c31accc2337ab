import type { Unit } from "./characters.ts";
import type { Form, Gap } from "./forms.ts";
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
 * in JSON) only those are followed that write the whole run in the same way.
 */
const MAX_PLACES = 6;

/** Ways of a run times the places that it may have begun at. */
const MAX_RUN_PLACES = 16;

/** Where a form may have got to: the places behind its units so far, and whether the bytes end within a way to go on. */
type Reached = { places: number[]; undecided: boolean };

/** Where the same unit again and again has got to, each time written in the same way. */
type Run = readonly { way: Buffer; place: number }[];

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
      const begun = begunAt(root, bytes, at);
      if (begun.undecided && !isLast) return UNDECIDED;
      let length = 0;
      for (const { form, places } of begun.forms) {
        const found = lengthOf(form, trailOf(trails, form), { bytes, at, isLast, origin }, places);
        if (found === UNDECIDED) return UNDECIDED;
        length = Math.max(length, found);
      }
      return length;
    };
  };
}

type Begun = { form: Form; places: number[] };

/** The forms whose first unit is at `at`, and where it may end. */
function begunAt(root: Node, bytes: Buffer, at: number): { forms: readonly Begun[]; undecided: boolean } {
  const forms: Begun[] = [];
  let node: Node | undefined = root;
  for (let place = at; node !== undefined; place++) {
    const before = forms.length;
    for (const form of node.forms) {
      const begun = before === 0 ? undefined : forms.find((other) => other.form === form);
      if (begun === undefined) forms.push({ form, places: [place] });
      else begun.places.push(place);
    }
    if (place === bytes.length) return { forms, undecided: node.next.size > 0 };
    if (node.next.size === 0) break;
    node = node.next.get(bytes[place]!);
  }
  return { forms, undecided: false };
}

function trailOf(trails: Map<Form, Trail>, form: Form): Trail {
  const known = trails.get(form);
  if (known !== undefined) return known;
  const trail = createTrail(form.units);
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

/** How long the form is that begins at `at`, and whose first unit ends at `places`. A shorter way to write it may be cut off by a longer one. */
function lengthOf({ units, gap }: Form, trail: Trail, { bytes, at, isLast, origin }: Where, places: number[]): number {
  const begin = places.length === 1 ? trail.begin(origin + places[0]!) : undefined;
  const walk: Walk = {
    reached: { places: begin === undefined ? places : [begin.place - origin], undecided: false },
    isOnlyWay: places.length === 1,
    run: runOn(undefined, units[0]!, places.length === 1 ? [] : [at], bytes),
  };
  for (let index = begin?.units ?? 1; index < units.length && walk.reached.places.length > 0; index++) {
    const unit = units[index]!;
    follow(walk, { unit, gap, bytes, isSameUnit: unit === units[index - 1] });
    if (walk.isOnlyWay) trail.add(origin + walk.reached.places[0]!);
  }
  return endOf(walk.reached, gap, { bytes, at, isLast, origin });
}

/** Where a form was found to go on to, and whether there was one way only. */
type Walk = { reached: Reached; isOnlyWay: boolean; run: Run };

function follow(
  walk: Walk,
  { unit, gap, bytes, isSameUnit }: { unit: Unit; gap: Gap; bytes: Buffer; isSameUnit: boolean },
): void {
  const { reached } = walk;
  const from = reached.places;
  reached.places = [];
  for (const end of from) goOn(unit, gap, bytes, end, reached);
  walk.isOnlyWay &&= reached.places.length === 1 && !reached.undecided;
  walk.run = runOn(isSameUnit ? walk.run : undefined, unit, reached.places.length > 1 ? from : [], bytes);
  if (reached.places.length > MAX_PLACES) reached.places = placesOf(walk.run);
}

function endOf(reached: Reached, gap: Gap, { bytes, at, isLast }: Where): number {
  const last = Math.max(0, ...reached.places);
  const tail = last > 0 && gap === "dump" ? afterDump(bytes, last) : { end: last, undecided: false };
  if ((reached.undecided || tail.undecided) && !isLast) return UNDECIDED;
  return last === 0 ? 0 : tail.end - at;
}

function goOn(unit: Unit, gap: Gap, bytes: Buffer, end: number, reached: Reached): void {
  step(unit, bytes, end, reached);
  if (gap !== "none") crossGap(unit, gap, bytes, end, reached);
}

function runOn(run: Run | undefined, unit: Unit, from: readonly number[], bytes: Buffer): Run {
  if (from.length === 0) return [];
  const begun =
    run !== undefined && run.length > 0
      ? run
      : from.flatMap((place) => (unit.byFirst.get(bytes[place]!) ?? []).map((way) => ({ way, place })));
  return begun
    .filter(({ way, place }) => place + way.length <= bytes.length && bytes[place] === way[0])
    .filter(({ way, place }) => isSame(bytes, place, way, way.length))
    .map(({ way, place }) => ({ way, place: place + way.length }));
}

function placesOf(run: Run): number[] {
  return [...new Set(run.map(({ place }) => place))].toSorted((a, b) => a - b).slice(0, MAX_RUN_PLACES);
}

function crossGap(unit: Unit, gap: Exclude<Gap, "none">, bytes: Buffer, from: number, reached: Reached): void {
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
