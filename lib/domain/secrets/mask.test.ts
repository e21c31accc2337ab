import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SECRET_ENCODERS } from "#lib/testing/secret-encoders.ts";
import { createMask, type Mask, NO_MASK } from "./mask.ts";

const throughStream = (mask: Mask, pieces: readonly Buffer[]): Buffer => {
  const stream = mask.stream();
  return Buffer.concat([...pieces.map((piece) => stream.write(piece)), stream.end()]);
};

/** Cuts bytes at these places, which need not be in order nor inside. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ordered = places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b);
  return [0, ...ordered].map((from, index) => bytes.subarray(from, ordered[index] ?? bytes.length));
}

/** Few different characters, so that secrets overlap, repeat and begin within one another. */
const crowded = fc.string({ unit: fc.constantFrom("a", "b", "\n", "é", "%"), minLength: 8, maxLength: 14 });
const wide = fc.string({ unit: "grapheme", minLength: 8, maxLength: 40 }).filter((text) => !text.includes("*"));
const encoders = Object.entries(SECRET_ENCODERS);
/** What encoders of all kinds can write: half of them know no control characters. */
const printable = fc
  .oneof(
    fc.string({ minLength: 8, maxLength: 90, size: "max" }),
    fc.string({
      unit: fc.constantFrom(...Array.from("aZ09'\"\\&<>%+/=-_ ~$\né€😀")),
      minLength: 8,
      maxLength: 90,
      size: "max",
    }),
  )
  .filter((text) => !text.includes("*") && text.trim() === text);
const secrets = fc.array(fc.oneof(crowded, wide), { minLength: 1, maxLength: 4 });

/** Texts around secrets and pieces of them, in any of their forms. */
const logOf = (given: readonly string[]): fc.Arbitrary<string> =>
  fc
    .array(
      fc.oneof(
        fc.string({ unit: fc.constantFrom("a", "b", "\n", "é", "%", " ") }),
        fc.tuple(fc.constantFrom(...encoders), fc.constantFrom(...given)).map(([[, encode], one]) => encode(one)),
        fc.tuple(fc.constantFrom(...given), fc.nat(14), fc.nat(14)).map(([one, from, to]) => one.slice(from, to)),
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join("").replaceAll("*", "").toWellFormed());

const withLog = secrets.chain((given) =>
  fc.record({ given: fc.constant(given), log: logOf(given), places: fc.array(fc.nat(400), { maxLength: 12 }) }),
);

describe("a stream of output", () => {
  test("comes out masked the same, however it is cut", () => {
    fc.assert(
      fc.property(withLog, ({ given, log, places }) => {
        const mask = createMask(given);
        const bytes = Buffer.from(log);
        const masked = mask.text(log);
        expect(throughStream(mask, cut(bytes, places)).toString()).toBe(masked);
        const single = [...bytes].map((byte) => Buffer.from([byte]));
        expect(throughStream(mask, single).toString()).toBe(masked);
      }),
      { numRuns: 500 },
    );
  });

  test("keeps no secret, in none of its forms", () => {
    fc.assert(
      fc.property(withLog, ({ given, log, places }) => {
        const masked = throughStream(createMask(given), cut(Buffer.from(log), places)).toString();
        for (const secret of given) for (const [, encode] of encoders) expect(masked).not.toContain(encode(secret));
      }),
      { numRuns: 500 },
    );
  });

  test("without secrets is what it was, byte by byte", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(200), { maxLength: 5 }), (given, places) => {
        const bytes = Buffer.from(given);
        const mask = createMask(["never-written-anywhere"]);
        expect(throughStream(mask, cut(bytes, places))).toEqual(bytes);
        expect(throughStream(NO_MASK, cut(bytes, places))).toEqual(bytes);
      }),
    );
  });

  test("is shown at once, but for an end that may become a secret", () => {
    const stream = createMask(["hunter2-hunter2"]).stream();
    expect(stream.write(Buffer.from("a line\nand hunt")).toString()).toBe("a line\nand ");
    expect(stream.write(Buffer.from("ing\n")).toString()).toBe("hunting\n");
    expect(stream.write(Buffer.from("hunter2-hunter")).toString()).toBe("");
    expect(stream.write(Buffer.from("2!")).toString()).toBe("***!");
    expect(stream.write(Buffer.from("hunter")).toString()).toBe("");
    expect(stream.end().toString()).toBe("hunter");
  });

  test("of many megabytes takes no time worth telling", () => {
    const key = Array.from({ length: 30 }, (_, line) => `${line}`.padStart(2, "0").repeat(32)).join("\n");
    const mask = createMask(["e-secret-of-letters", key]);
    const stream = mask.stream();
    const line = Buffer.from("the quick brown fox jumps over the lazy dog, and 00000000 times again\n".repeat(1_000));
    const before = process.cpuUsage();
    for (let round = 0; round < 60; round++) stream.write(line);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
  });
});

/** Of a dump its first address may stay, and the places between its columns. */
const LEFT = /^(?:[0-9a-f]{7,8}:? {1,2}| )?\*\*\*(?: *\*\*\*)*\|?$/;

describe("each way to print a secret", () => {
  test.each(encoders)("%s hides all of it", (_, encode) => {
    fc.assert(
      fc.property(printable, fc.array(fc.nat(4_000), { maxLength: 12 }), (secret, places) => {
        const bytes = Buffer.from(`log:\n${encode(secret)}\nrest`);
        const masked = throughStream(createMask([secret]), cut(bytes, places)).toString();
        expect(masked.slice(0, 5)).toBe("log:\n");
        expect(masked.slice(-5)).toBe("\nrest");
        expect(masked.slice(5, -5)).toMatch(LEFT);
      }),
      { numRuns: 200 },
    );
  });

  test.each(encoders.filter(([name]) => /base64/.test(name)))("%s hides it in a longer text, too", (_, encode) => {
    fc.assert(
      fc.property(printable, fc.string({ maxLength: 70 }), fc.string({ maxLength: 9 }), (secret, before, after) => {
        const text = encode(`${before}${secret}${after}`);
        const masked = createMask([secret]).text(`${text}\n`);
        // Three digits at each end are shared with what stands beside it; six bits of them are the secret's.
        const shared = Math.ceil((Buffer.byteLength(before) * 8) / 6) + Math.ceil((Buffer.byteLength(after) * 8) / 6);
        const digits = masked.replaceAll(/%[0-9A-F]{2}|\\n|\*\*\*/g, "").replaceAll(/[^A-Za-z0-9+/_-]/g, "");
        expect(masked).toContain("***");
        expect(digits.length).toBeLessThanOrEqual(shared + 6);
      }),
      { numRuns: 200 },
    );
  });
});

test("twice as much output costs twice the time, also where it nearly is a secret", () => {
  const secret = `${"ab".repeat(40)}c`;
  const hard = [
    secret.slice(0, -1),
    "61626162".repeat(19),
    Buffer.from(secret).toString("base64").slice(0, 60),
    "\\%&".repeat(30),
  ];
  const cost = (repeats: number): number => {
    const stream = createMask([secret, "another-secret\nof-two-lines"]).stream();
    const chunk = Buffer.from(hard.join("\n").repeat(4));
    const before = process.cpuUsage();
    for (let n = 0; n < repeats; n++) stream.write(chunk);
    stream.end();
    return process.cpuUsage(before).user;
  };
  cost(100);
  const [one, two] = [cost(200), cost(400)];
  expect(two / one).toBeLessThan(3);
});

/** A secret, and a log that resembles it all along. */
const HARD: Readonly<Record<string, readonly [secret: string, log: string]>> = {
  "blanks, an indented secret": ["kind: Config\nusers:\n    token: abcdefgh1234\n", " "],
  "blanks behind a secret's beginning": [
    "kind: Config\nusers:\n    token: abcdefgh1234\n",
    `kind: Config\nusers:\n${" ".repeat(200)}`,
  ],
  "ends of lines": [`${"\n".repeat(200)}x`, "\n"],
  zeros: ["0".repeat(200), "0"],
  "zeros, a long secret": [`${"0".repeat(20_000)}x`, "0"],
  "zeros in hex": ["0".repeat(100), "30 "],
  "zeros in base64": ["0".repeat(100), "MDAw"],
  "a long secret's beginning": [`${" a".repeat(9_500)}${"b ".repeat(500)}`, " a"],
};

test.each(Object.entries(HARD))("costs little where the log nearly is a secret: %s", (_, [secret, log]) => {
  const chunk = (text: string): Buffer => Buffer.from(text.repeat(Math.ceil(16_384 / text.length)).slice(0, 16_384));
  const cost = (text: string): number => {
    const stream = createMask([secret]).stream();
    stream.write(chunk(text));
    const before = process.cpuUsage();
    for (let n = 0; n < 8; n++) stream.write(chunk(text));
    return process.cpuUsage(before).user;
  };
  const plain = "the quick brown fox jumps over the lazy dog, and 17 times again\n";
  // Each byte takes what a step of each form takes, some microseconds, and not that for each unit of the secret.
  expect(cost(log)).toBeLessThan(150 * Math.max(cost(plain), 4_000));
});

test("hides a dump without addresses, also where a line of it looks like one", () => {
  const secret = `${"a".repeat(30)}\u{14281}`;
  const printed = `${"61".repeat(30)}\nf0948a81`;
  expect(createMask([secret]).text(`${printed}0000000 and more\n`)).toMatch(/^\*\*\*(?!.*f0948a81)/);
});

test("hides a run of marks, in each way to write it", () => {
  const secret = `${"\\".repeat(24)}'tail-of-it`;
  for (const encode of Object.values(SECRET_ENCODERS)) {
    expect(
      createMask([secret])
        .text(`log:\n${encode(secret)}\n`)
        .slice(5, -1),
    ).toMatch(LEFT);
  }
});

describe("the forms of a secret", () => {
  const shows = (secret: string, printed: string): string => createMask([secret]).text(printed);

  test.each([
    ["itself", "tr0ub4dor&3", "tr0ub4dor&3"],
    ["in an address", "tr0ub4dor&3", "tr0ub4dor%263"],
    ["in a form", "correct horse's", "correct+horse%27s"],
    ["in JSON", 'line one\n"two"', String.raw`line one\n\"two\"`],
    ["in JSON of ASCII", "Größe und Maß", String.raw`Gr\u00f6\u00dfe und Ma\u00df`],
    ["in base64", "tr0ub4dor&3", Buffer.from("tr0ub4dor&3").toString("base64")],
    ["in base64 for addresses", "~~~???>>>~~~", Buffer.from("~~~???>>>~~~").toString("base64url")],
    ["a line of it", "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----", "MIIEvQIBADANBg"],
    ["a member of it", '{"user": "etl", "password": "s3cret-word"}', "s3cret-word"],
    ["the password in it", "postgres://etl:p%40ssword1@db.internal/w", "p@ssword1"],
    ["the password in it as written", "postgres://etl:p%40ssword1@db.internal/w", "p%40ssword1"],
  ])("%s", (_, secret, printed) => {
    expect(shows(secret, `before ${printed} after`)).toBe("before *** after");
  });

  test.each(["", "u", "us", "etl:"])("in base64 behind %j", (before) => {
    const secret = "tr0ub4dor&3!";
    const header = Buffer.from(`${before}${secret}:after`).toString("base64");
    const masked = shows(secret, header);
    expect(masked).toContain("***");
    // What is left tells at most the bits it shares with its neighbours.
    expect(Buffer.from(masked.split("***")[0]!, "base64").toString()).not.toContain("tr0");
  });

  test("leave short lines and members alone", () => {
    expect(shows('{"user": "etl", "id": 7}', "etl 7")).toBe("etl 7");
    expect(shows("postgres://etl:short@db.internal/w", "a short story")).toBe("a short story");
  });
});

test("the texts, numbers and keys of data are masked; the rest keeps its shape", () => {
  const mask = createMask(["12345678", "hunter2-hunter2"]);
  const data = {
    pin: 12345678,
    n: 5,
    list: ["a hunter2-hunter2", null, true],
    "hunter2-hunter2": { deep: "12345678" },
  };
  expect(mask.json(data)).toEqual({ pin: "***", n: 5, list: ["a ***", null, true], "***": { deep: "***" } });
  expect(mask.json(undefined)).toBeUndefined();
  expect(mask.json(JSON.parse('{"__proto__": "hunter2-hunter2"}'))).toEqual(JSON.parse('{"__proto__": "***"}'));
  expect(mask.text("half a pair \ud800")).toBe("half a pair \ud800");
});
