import type { Random } from "./random.ts";

/** What is hard for whoever reads text. */
const PIECES = [
  "\0",
  "\u{feff}",
  "\u{2028}",
  "\r\n",
  "\t",
  "\\",
  '"',
  "'",
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "&a ",
  "*a",
  "!!binary ",
  "<<: ",
  "---\n",
  "- ",
  "? ",
  "%YAML 9.9\n",
  "${{",
  "}}",
  "__proto__",
  "constructor",
  "9".repeat(400),
  "-1e999",
  "0x1F",
  "null",
  "[".repeat(200),
  "{a: ".repeat(200),
  "x".repeat(5_000),
  "🙂",
];

const HOW: readonly ((bytes: Buffer, random: Random) => Buffer)[] = [
  (bytes, random) => {
    const flipped = Buffer.from(bytes);
    flipped[random.upTo(bytes.length - 1)]! ^= 1 << random.upTo(7);
    return flipped;
  },
  (bytes, random) => bytes.subarray(0, random.upTo(bytes.length)),
  (bytes, random) => bytes.subarray(random.upTo(bytes.length)),
  (bytes, random) => spliced(bytes, random, Buffer.from(random.pick(PIECES))),
  (bytes, random) => spliced(bytes, random, random.bytes(1 + random.upTo(16))),
  // A part of it again, somewhere.
  (bytes, random) => {
    const from = random.upTo(bytes.length);
    return spliced(bytes, random, bytes.subarray(from, from + random.upTo(400)));
  },
  (bytes, random) => {
    const from = random.upTo(bytes.length);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + random.upTo(40))]);
  },
];

function spliced(bytes: Buffer, random: Random, piece: Buffer): Buffer {
  const at = random.upTo(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
}

/** The bytes with some mistakes. */
export function mutated(bytes: Buffer, random: Random): Buffer {
  let result = bytes;
  for (let times = 1 + random.upTo(3); times > 0 && result.length > 0; times--)
    result = random.pick(HOW)(result, random);
  return result;
}

/** JSON texts of values that a program does not expect. */
const VALUES = [
  "null",
  "[]",
  "{}",
  "true",
  '""',
  "0",
  "-1",
  "1e308",
  "1e999",
  "0.1",
  "9007199254740993",
  '"\\u0000"',
  '"\\ud800"',
  '{"__proto__":{"a":1}}',
  '{"constructor":{"prototype":{}}}',
  '{"toJSON":1}',
  '"x"',
  `"${"x".repeat(70_000)}"`,
  `${"[".repeat(5_000)}${"]".repeat(5_000)}`,
  `[${"0,".repeat(70_000)}0]`,
  `{${Array.from({ length: 2_000 }, (_, n) => `"k${n}":0`).join()}}`,
];

/** The value's JSON with other values at some of its places, or with mistakes in its text. */
export function mutatedJson(value: unknown, random: Random): Buffer {
  const other = new Map<string, string>();
  const text = JSON.stringify(value, (key, inside: unknown) => {
    if (!random.chance(0.15)) return inside;
    const name = `@${other.size}@`;
    other.set(name, random.pick(VALUES));
    return key === "" && typeof inside === "object" && random.chance(0.8) ? inside : name;
  });
  const replaced = Buffer.from(text.replaceAll(/"(@\d+@)"/g, (all, name: string) => other.get(name) ?? all));
  return random.chance(0.3) ? mutated(replaced, random) : replaced;
}

/** A frame whose head may lie about its length, its letter or its id. */
export function frameLike(letter: string, id: number, payload: Buffer, random: Random): Buffer {
  const head = Buffer.alloc(9);
  const lengths = [0, 4, 5, 6, payload.length, payload.length + 6, 2 ** 24, 2 ** 31, 2 ** 32 - 1];
  head.writeUInt32BE(random.chance(0.15) ? random.pick(lengths) : 5 + payload.length, 0);
  head.write(random.chance(0.1) ? String.fromCharCode(random.upTo(255)) : letter, 4, "latin1");
  head.writeUInt32BE(random.chance(0.2) ? random.pick([0, 1, id + 1, 2 ** 31, 2 ** 32 - 1]) : id, 5);
  const frame = Buffer.concat([head, payload]);
  return random.chance(0.1) ? mutated(frame, random) : frame;
}
