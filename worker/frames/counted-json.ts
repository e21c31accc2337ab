/** How many members one object of a text may have, how many elements one list, and how many of both all of it. */
export type JsonLimits = { members: number; elements: number; all: number };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING_LIST = 0x5b;
const OPENING_OBJECT = 0x7b;
const CLOSING = new Set([0x5d, 0x7d]);

/**
 * Why the JSON is not to be parsed, if so. One pass that keeps nothing: a parser takes seconds, and a schema minutes, for a few
 * megabytes that are one object of a million members or a list of a million mistakes.
 */
export function jsonTrouble(json: Uint8Array, { members, elements, all }: JsonLimits): string | undefined {
  /** What the objects and lists around this place may still have. */
  const open: number[] = [];
  let here = Infinity;
  let total = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === QUOTE) at = endOfString(json, at);
    else if (byte === COMMA) {
      if (--here <= 0)
        return `it has an object of more than ${members} members, or a list of more than ${elements} elements`;
      if (++total >= all) return `it has more than ${all} values`;
    } else if (byte === OPENING_OBJECT || byte === OPENING_LIST) {
      open.push(here);
      here = byte === OPENING_OBJECT ? members : elements;
    } else if (CLOSING.has(byte)) here = open.pop() ?? Infinity;
  }
  return undefined;
}

/** Where the string that begins at `start` has its last quote, or the end of the text. */
function endOfString(json: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < json.length && json[at] !== QUOTE) at += json[at] === BACKSLASH ? 2 : 1;
  return at;
}

/** The value of a JSON text within these limits. Throws otherwise. */
export function parseCounted(json: Buffer, limits: JsonLimits): unknown {
  const trouble = jsonTrouble(json, limits);
  if (trouble !== undefined) throw new Error(trouble);
  return JSON.parse(json.toString()) as unknown;
}
