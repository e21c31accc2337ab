/**
 * What clocks show in a time zone, from the zone data that Intl has. Instants are milliseconds since 1970 UTC; a local
 * time is written the same way, as if the zone were UTC.
 */

export const DAY_MS = 86_400_000;

/** At `at` clocks are set from one offset to another. Forward leaves a gap in local time, back an overlap. */
export type Change = { at: number; before: number; after: number };

export type Zone = {
  name: string;
  /** What local time is ahead of UTC, in milliseconds. */
  offsetAt(at: number): number;
  /** Changes after `from`, up to and with `to`, in order. */
  changesIn(from: number, to: number): readonly Change[];
};

/** Changes are looked up and kept for so long a time at once. */
const BLOCK_MS = 400 * DAY_MS;
/** Between 1970 and 2040 no zone changed its offset twice within 7 days (2000-10, Recife). */
const SAMPLE_MS = 2 * DAY_MS;

/** Some centuries. */
const MAX_BLOCKS = 512;

type Block = { first: number; changes: readonly Change[] };

const NONE: readonly Change[] = [];

/** Zones are kept, because asking Intl is what takes time. A formatter has some 50 KB, and names may differ in case. */
const MAX_ZONES = 128;
const zones = new Map<string, Zone>();

/** The zone of an IANA name that `zoneProblem` has nothing against. */
export function zoneOf(name: string): Zone {
  const known = zones.get(name);
  if (known !== undefined) return known;
  if (zones.size >= MAX_ZONES) zones.clear();
  const zone = readZone(name);
  zones.set(name, zone);
  return zone;
}

function readZone(name: string): Zone {
  const offsetOf = offsetReader(name);
  const blocks = new Map<number, Block>();

  const blockOf = (index: number): Block => {
    const known = blocks.get(index);
    if (known !== undefined) return known;
    if (blocks.size >= MAX_BLOCKS) blocks.clear();
    const block = readBlock(offsetOf, index * BLOCK_MS);
    blocks.set(index, block);
    return block;
  };

  return {
    name,
    offsetAt(at) {
      const { first, changes } = blockOf(Math.floor(at / BLOCK_MS));
      let offset = first;
      for (const change of changes) if (change.at <= at) offset = change.after;
      return offset;
    },
    changesIn(from, to) {
      let found: Change[] | undefined;
      for (let index = Math.floor(from / BLOCK_MS); index * BLOCK_MS <= to; index++) {
        for (const change of blockOf(index).changes) {
          if (change.at > from && change.at <= to) (found ??= []).push(change);
        }
      }
      return found ?? NONE;
    },
  };
}

/** Changes in [start, start + BLOCK_MS); one at the very start belongs to this block and not to the one before. */
function readBlock(offsetOf: (at: number) => number, start: number): Block {
  const changes: Change[] = [];
  const first = offsetOf(start - 1_000);
  let before = first;
  let from = start - 1_000;
  for (let at = start; at < start + BLOCK_MS; at += SAMPLE_MS) {
    const to = Math.min(at + SAMPLE_MS, start + BLOCK_MS) - 1_000;
    const after = offsetOf(to);
    if (after !== before) changes.push({ at: firstWith(offsetOf, before, from, to), before, after });
    before = after;
    from = to;
  }
  return { first, changes };
}

/** The first whole second after `from` at which the offset is no longer `before`, as it is at `to`. */
function firstWith(offsetOf: (at: number) => number, before: number, from: number, to: number): number {
  let [low, high] = [from / 1_000, to / 1_000];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetOf(middle * 1_000) === before) low = middle;
    else high = middle;
  }
  return high * 1_000;
}

const OFFSET = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/;

function offsetReader(name: string): (at: number) => number {
  const format = new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset", year: "numeric" });
  return (at) => {
    const match = OFFSET.exec(format.format(at));
    if (match === null) throw new Error(`no offset for ${name}`);
    const [, sign, hours, minutes, seconds] = match;
    if (sign === undefined) return 0;
    const size = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(seconds ?? 0) * 1_000;
    return sign === "-" ? -size : size;
  };
}

/** Offsets lie between -12:00 and +14:00; the rest is air. */
const REACH_MS = 16 * 3_600_000;

/** Where a local time lies. In a gap, both instants are the first one after it; in an overlap they differ. */
export type Place = { first: number; last: number; gap: Change | undefined };

export function placeOf(zone: Zone, local: number): Place {
  let offset = zone.offsetAt(local - REACH_MS);
  const changes = zone.changesIn(local - REACH_MS, local + REACH_MS);
  let start = -Infinity;
  let first: number | undefined;
  let last: number | undefined;
  let gap: Change | undefined;
  for (const change of changes) {
    const at = local - offset;
    if (at >= start && at < change.at) {
      first ??= at;
      last = at;
    }
    if (local >= change.at + change.before && local < change.at + change.after) gap = change;
    start = change.at;
    offset = change.after;
  }
  if (local - offset >= start) {
    last = local - offset;
    first ??= last;
  }
  if (first !== undefined && last !== undefined) return { first, last, gap: undefined };
  if (gap === undefined) throw new Error(`no instant for the local time ${local} in ${zone.name}`);
  return { first: gap.at, last: gap.at, gap };
}

/** `2026-03-29 02:30`, with seconds and milliseconds only where there are some. */
export function localText(local: number): string {
  const iso = new Date(local).toISOString();
  const seconds = local % 60_000 === 0 ? "" : iso.slice(16, local % 1_000 === 0 ? 19 : 23);
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}${seconds}`;
}
