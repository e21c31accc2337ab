import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { secretForms } from "./forms.ts";
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
const secrets = fc.array(fc.oneof(crowded, wide), { minLength: 1, maxLength: 4 });

/** Texts around secrets and pieces of them, in any of their forms. */
const logOf = (given: readonly string[]): fc.Arbitrary<string> =>
  fc
    .array(
      fc.oneof(
        fc.string({ unit: fc.constantFrom("a", "b", "\n", "é", "%", " ") }),
        fc.constantFrom(...given.flatMap(secretForms)),
        fc.tuple(fc.constantFrom(...given), fc.nat(14), fc.nat(14)).map(([one, from, to]) => one.slice(from, to)),
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join("").replaceAll("*", ""));

const withLog = secrets.chain((given) =>
  fc.record({ given: fc.constant(given), log: logOf(given), places: fc.array(fc.nat(400), { maxLength: 12 }) }),
);

/** What the mask must do, said without pieces: each stretch of places that belong to a form becomes three stars. */
function plainly(given: readonly string[], log: string): string {
  const bytes = Buffer.from(log);
  const forms = given.flatMap(secretForms).map((form) => Buffer.from(form));
  const shown: Buffer[] = [];
  let hiddenUntil = 0;
  for (let at = 0; at < bytes.length; at++) {
    const found = forms.filter((form) => bytes.subarray(at, at + form.length).equals(form));
    const end = at + Math.max(0, ...found.map((form) => form.length));
    if (end > at && at >= hiddenUntil) shown.push(Buffer.from("***"));
    hiddenUntil = Math.max(hiddenUntil, end);
    if (at >= hiddenUntil) shown.push(bytes.subarray(at, at + 1));
  }
  return Buffer.concat(shown).toString();
}

describe("a stream of output", () => {
  test("comes out masked the same, however it is cut", () => {
    fc.assert(
      fc.property(withLog, ({ given, log, places }) => {
        const mask = createMask(given);
        const bytes = Buffer.from(log);
        const masked = throughStream(mask, cut(bytes, places));
        expect(masked.toString()).toBe(plainly(given, log));
        expect(
          throughStream(
            mask,
            [...bytes].map((byte) => Buffer.from([byte])),
          ),
        ).toEqual(masked);
      }),
      { numRuns: 2_000 },
    );
  });

  test("keeps no secret, in none of its forms", () => {
    fc.assert(
      fc.property(withLog, ({ given, log, places }) => {
        const masked = throughStream(createMask(given), cut(Buffer.from(log), places)).toString();
        for (const form of given.flatMap(secretForms)) expect(masked).not.toContain(form);
      }),
      { numRuns: 2_000 },
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
    for (let round = 0; round < 200; round++) stream.write(line);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
  });
});

describe("the forms of a secret", () => {
  const shows = (secret: string, printed: string): string => createMask([secret]).text(printed);

  test.each([
    ["itself", "tr0ub4dor&3", "tr0ub4dor&3"],
    ["in an address", "tr0ub4dor&3 ", "tr0ub4dor%263"],
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
