/** The same values for the same seed, on every machine. */
export type Random = {
  /** From 0 to 1. */
  number(): number;
  /** A whole number from 0 to `most`, both included. */
  upTo(most: number): number;
  pick<T>(from: readonly T[]): T;
  /** So many at most, any of them more than once. */
  some<T>(from: readonly T[], most: number): T[];
  chance(of: number): boolean;
  bytes(length: number): Buffer;
};

/** Numbers by mulberry32 (public domain). */
export function randomOf(seed: number): Random {
  let state = seed;
  const number = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const upTo = (most: number): number => Math.floor(number() * (most + 1));
  const pick = <T>(from: readonly T[]): T => from[upTo(from.length - 1)]!;
  return {
    number,
    upTo,
    pick,
    some: (from, most) => Array.from({ length: upTo(most) }, () => pick(from)),
    chance: (of) => number() < of,
    bytes: (length) => Buffer.from(Array.from({ length }, () => upTo(255))),
  };
}

/** Of one case alone, so that it is the same whatever was run before it. */
export function randomOfCase(seed: number, name: string, number: number): Random {
  let hash = seed;
  for (const character of `${name} ${number}`) hash = (Math.imul(hash, 31) + character.codePointAt(0)!) | 0;
  return randomOf(hash);
}
