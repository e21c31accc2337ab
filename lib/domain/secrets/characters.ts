/** How programs write one character of a text: as it is, and in every escape that they use without being asked. */

/** The ways to write one character, as bytes; any of them may stand there. */
export type Unit = {
  /** By their first byte, the longest first. */
  byFirst: ReadonlyMap<number, readonly Buffer[]>;
  ways: readonly Buffer[];
};

const known = new Map<string, Unit>();

/** The ways to write a character (a whole code point) of a text. The same character gives the same unit. */
export function characterUnit(character: string): Unit {
  const unit = known.get(character) ?? unitOf(waysOf(character));
  known.set(character, unit);
  return unit;
}

/** A unit of these ways. */
export function unitOf(ways: Iterable<string>): Unit {
  const all = [...new Set(ways)].map((way) => Buffer.from(way)).toSorted((a, b) => b.length - a.length);
  const byFirst = new Map<number, Buffer[]>();
  for (const way of all) byFirst.set(way[0]!, [...(byFirst.get(way[0]!) ?? []), way]);
  return { byFirst, ways: all };
}

function waysOf(character: string): string[] {
  const code = character.codePointAt(0)!;
  const bytes = [...Buffer.from(character)];
  const shell = shellWays(character);
  const escaped = [...backslashWays(character, code, bytes), ...shell];
  return [
    character,
    ...percentWays(character, bytes),
    ...htmlWays(character, code),
    ...escaped,
    // JSON in JSON, and JSON of what a shell has quoted.
    ...[character, ...escaped].map(jsonEscaped),
    ...(character === "\n" ? ["\r\n"] : []),
  ];
}

const jsonEscaped = (text: string): string => JSON.stringify(text).slice(1, -1);

const hex = (value: number, digits: number): string[] => {
  const lower = value.toString(16).padStart(digits, "0");
  return [lower, lower.toUpperCase()];
};

/** Each byte by the same writing: `write` gives one text for each kind of it. */
function eachByte(bytes: readonly number[], write: (byte: number) => string[]): string[] {
  return write(0).map((_, kind) => bytes.map((byte) => write(byte)[kind]).join(""));
}

/** encodeURIComponent, quote(safe="") and their like differ in which characters they leave alone, and in the case of digits. */
function percentWays(character: string, bytes: readonly number[]): string[] {
  const once = eachByte(bytes, (byte) => hex(byte, 2).map((digits) => `%${digits}`));
  return [...once, ...once.map((way) => way.replaceAll("%", "%25")), ...(character === " " ? ["+"] : [])];
}

const HTML_NAMES: Readonly<Record<string, readonly string[]>> = {
  "&": ["amp"],
  "<": ["lt"],
  ">": ["gt"],
  '"': ["quot"],
  "'": ["apos"],
  "\u00a0": ["nbsp"],
};

function htmlWays(character: string, code: number): string[] {
  const numbers = [
    `#${code}`,
    `#${String(code).padStart(3, "0")}`,
    ...hex(code, 2).flatMap((digits) => [`#x${digits}`, `#X${digits}`]),
  ];
  const once = [...(HTML_NAMES[character] ?? []), ...numbers, ...hex(code, 4).map((digits) => `#x${digits}`)];
  return once.flatMap((name) => [`&${name};`, `&amp;${name};`]);
}

const LETTERS: Readonly<Record<string, readonly string[]>> = {
  "\0": ["0"],
  "\u0007": ["a"],
  "\b": ["b"],
  "\t": ["t"],
  "\n": ["n"],
  "\v": ["v"],
  "\f": ["f"],
  "\r": ["r"],
  "\u001b": ["e", "E"],
};

/** JSON, repr of Python, strings of C, `$'…'` of a shell; and the marks that regular expressions and `printf %q` put a backslash before. */
function backslashWays(character: string, code: number, bytes: readonly number[]): string[] {
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index));
  return [
    jsonEscaped(character),
    ...eachByte(units, (unit) => hex(unit, 4).map((digits) => `\\u${digits}`)),
    ...eachByte(bytes, (byte) => hex(byte, 2).map((digits) => `\\x${digits}`)),
    ...eachByte(bytes, (byte) => [`\\${byte.toString(8).padStart(3, "0")}`]),
    ...hex(code, 8).map((digits) => `\\U${digits}`),
    ...hex(code, 1).map((digits) => `\\u{${digits}}`),
    ...(code < 256 ? hex(code, 2).map((digits) => `\\x${digits}`) : []),
    ...(LETTERS[character] ?? []).map((letter) => `\\${letter}`),
    ...(/[A-Za-z0-9]/.test(character) ? [] : [`\\${character}`]),
  ];
}

function shellWays(character: string): string[] {
  return character === "'" ? [`'\\''`, `'"'"'`, "''"] : [];
}
