import type { Gap } from "./forms.ts";

/** Where the next unit may begin behind a gap, and whether the bytes end too early to tell. */
export type GapEnds = { ends: readonly number[]; undecided: boolean };

const NONE: GapEnds = { ends: [], undecided: false };

/** More than any gap has: the rest of a line of a dump, and the address in the next one. */
const MAX_GAP = 128;

/** A line's end as it is, as a text within a text writes it, or as an address does; and how far the next line stands in. */
const LINE_END = /^(?:\r?\n|\\r\\n|\\n|%0[Dd]%0[Aa]|%0[Aa])[ \t]{0,8}/;
const LINE_END_BEGINS =
  /^(?:\r|\\(?:r(?:\\)?)?|%(?:0(?:[Dd](?:%(?:0)?)?)?)?)?$|^(?:\r?\n|\\r\\n|\\n|%0[Dd]%0[Aa]|%0[Aa])[ \t]{0,7}$/;

/** Between two bytes of one line: of xxd, od, hexdump, openssl, addresses, strings of C and lists. */
const SEPARATORS = [" ", "  ", "   ", ":", "-", ",", ", ", "%", "\\x", "\\\\x", " 0x", ",0x", ", 0x"];

/** The text beside a line of a dump, the line's end, and what stands before the bytes of the next line. */
const DUMP_LINE = /^(?: {2,80}[|>]?[\x20-\x7e]{1,18}| {0,80})\r?\n/;
const ADDRESS = /^(?:[0-9A-Fa-f]{6,16}(?::|(?= )))?/;
const INDENT = /^ {0,8}/;
const DUMP_LINE_BEGINS = /^(?: {2,80}[|>]?[\x20-\x7e]{1,18}| {0,80})\r?$/;
const ADDRESS_BEGINS = /^[0-9A-Fa-f]{0,16}:? {0,8}$/;
const COLUMN_LINE = /^ {0,80}\r?\n/;
const COLUMN_LINE_BEGINS = /^ {0,80}\r?$/;

/**
 * A line of wrapped base64 is long and has nothing else in it: so many digits stand before its end. Other lines that end in a digit
 * are shown at once, and whole.
 */
export const LINE_DIGITS = 16;

/** What may stand behind `from`, where one unit ends and the next may begin. */
export function gapEnds(gap: Exclude<Gap, "none">, bytes: Buffer, from: number): GapEnds {
  if (from < bytes.length && MAY_BEGIN[gap][bytes[from]!] === 0) return NONE;
  if (gap === "lines" && !isLongLine(bytes, from)) return NONE;
  const rest = bytes.toString("latin1", from, Math.min(from + MAX_GAP, bytes.length));
  const mayGoOn = from + rest.length === bytes.length;
  return GAPS[gap](rest, from, mayGoOn);
}

const BEGINS = { lines: "\r\n\\%", dump: " \r\n:-,%\\", columns: " \r\n" } as const;
const MAY_BEGIN = { lines: setOf(BEGINS.lines), dump: setOf(BEGINS.dump), columns: setOf(BEGINS.columns) };

/** The bytes that a gap may begin with. */
export function gapBytes(gap: Exclude<Gap, "none">): Iterable<number> {
  return Buffer.from(BEGINS[gap]);
}

function setOf(characters: string): Uint8Array {
  const set = new Uint8Array(256);
  for (const byte of Buffer.from(characters)) set[byte] = 1;
  return set;
}

const DIGIT = setOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=");

function isLongLine(bytes: Buffer, end: number): boolean {
  if (end < LINE_DIGITS) return false;
  for (let at = end - LINE_DIGITS; at < end; at++) if (DIGIT[bytes[at]!] === 0) return false;
  return true;
}

function lineGap(rest: string, from: number, mayGoOn: boolean): GapEnds {
  const undecided = mayGoOn && LINE_END_BEGINS.test(rest);
  const end = LINE_END.exec(rest);
  return { ends: end === null ? [] : [from + end[0].length], undecided };
}

function dumpGap(rest: string, from: number, mayGoOn: boolean): GapEnds {
  const line = DUMP_LINE.exec(rest)?.[0] ?? "";
  const between = SEPARATORS.filter((text) => rest.startsWith(text)).map((text) => from + text.length);
  const beginsOne = DUMP_LINE_BEGINS.test(rest) || SEPARATORS.some((text) => text.startsWith(rest));
  if (line === "") return { ends: between, undecided: mayGoOn && beginsOne };
  const next = rest.slice(line.length);
  const address = line.length + ADDRESS.exec(next)![0].length;
  const indent = INDENT.exec(rest.slice(address))![0].length;
  // What looks like an address may be bytes, in a dump without addresses.
  const ends = [...new Set([...between, from + line.length, from + address, from + address + indent])];
  return { ends, undecided: mayGoOn && ADDRESS_BEGINS.test(next) };
}

function columnGap(rest: string, from: number, mayGoOn: boolean): GapEnds {
  const line = COLUMN_LINE.exec(rest)?.[0];
  if (line === undefined) return { ends: [], undecided: mayGoOn && COLUMN_LINE_BEGINS.test(rest) };
  const next = rest.slice(line.length);
  const address = from + line.length + ADDRESS.exec(next)![0].length;
  return { ends: [address], undecided: mayGoOn && ADDRESS_BEGINS.test(next) };
}

const GAPS = { lines: lineGap, dump: dumpGap, columns: columnGap };

/** Behind the bytes of a dump's line they stand once more as text, with dots in place of some: that is hidden to the line's end. */
export function afterDump(bytes: Buffer, from: number): { end: number; undecided: boolean } {
  const rest = bytes.toString("latin1", from, Math.min(from + MAX_GAP, bytes.length));
  const column = /^[0-9A-Fa-f ]{0,60} {2}[|>]?[\x20-\x7e]{1,18}(?=\r?\n|$)/.exec(rest);
  const mayGoOn = from + rest.length === bytes.length && !rest.includes("\n");
  return { end: from + (column?.[0].length ?? 0), undecided: mayGoOn };
}
