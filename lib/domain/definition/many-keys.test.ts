import fc from "fast-check";
import { LineCounter, parseDocument } from "yaml";
import { describe, expect, test } from "vitest";
import { duplicateKeys } from "./duplicate-keys.ts";
import { parseDefinition } from "./parse.ts";

const repeat = (count: number, line: (n: number) => string): string =>
  Array.from({ length: count }, (_, n) => line(n)).join("");
const TASK = 'tasks:\n  - id: only\n    bash: "true"\n';
const ENV = `id: a\n${TASK}    env:\n`;

/** Files of so many keys in one mapping, good ones and such as have a mistake at each key. */
const SHAPES: Record<string, (keys: number) => string> = {
  variables: (keys) => ENV + repeat(keys, (n) => `      K${n}: v\n`),
  "a table in JSON": (keys) =>
    JSON.stringify(Object.fromEntries(Array.from({ length: keys }, (_, n) => [`c-${n}`, "v"]))),
  "keys that are doubled": (keys) => ENV + repeat(keys, () => "      K: v\n"),
  "keys that are wrong": (keys) => ENV + repeat(keys, (n) => `      K-${n}: v\n`),
  "values that are wrong": (keys) => ENV + repeat(keys, (n) => `      K${n}: [1]\n`),
  "keys without values": (keys) => `${ENV.trimEnd()} {${repeat(keys, (n) => `K${n}, `)}}\n`,
  "params and their uses": (keys) =>
    `id: a\nparams:\n${repeat(keys, (n) => `  p${n}: { type: string, default: x }\n`)}` +
    `${ENV.slice(6)}${repeat(keys, (n) => `      K${n}: "\${{ params.p${n} }}"\n`)}`,
  "params and misspelt uses": (keys) =>
    `id: a\nparams:\n${repeat(keys, (n) => `  p${n}: { type: string, default: x }\n`)}` +
    `${ENV.slice(6)}${repeat(keys, (n) => `      K${n}: "\${{ params.q${n} }}"\n`)}`,
};

/** Milliseconds of the processor; the least of some times, because others use it as well. */
function cost(text: string, times: number): number {
  const took = Array.from({ length: times }, () => {
    const before = process.cpuUsage();
    parseDefinition(text, "keys.yaml");
    return process.cpuUsage(before).user / 1_000;
  });
  return Math.min(...took);
}

describe("a file with many keys", () => {
  // Eight times the keys are 64 times the work where each key is compared with all others, and 8 to 12 times where it is not.
  test.each(Object.keys(SHAPES))(
    "takes time in proportion to them: %s",
    (shape) => {
      const text = SHAPES[shape]!;
      cost(text(500), 3);
      const ratio = cost(text(16_000), 1) / cost(text(2_000), 3);
      console.log("RATIO", shape, ratio);
      expect(ratio).toBeLessThan(24);
    },
    120_000,
  );

  test("of which one stands there twice is told where, as before", () => {
    const told = (text: string): string[] => {
      const result = parseDefinition(text, "x.yaml");
      return result.ok ? [] : result.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
    };
    const twice = "this key stands in the same mapping already; keys are unique";
    expect(told(`id: a\n${TASK}id: b\n`)).toEqual([`5:1 ${twice}`]);
    expect(told('{"id": "a", "tasks": [{"id": "x", "noop": {}, "id": "y"}], "id": "b"}')).toEqual([
      `1:47 ${twice}`,
      `1:60 ${twice}`,
    ]);
    expect(told(`${ENV}      A: 1\n      "A": 2\n      &x A: 3\n      ? A\n      : 4\n`)).toEqual([
      `7:7 ${twice}`,
      `8:10 ${twice}`,
      `9:9 ${twice}`,
    ]);
    expect(told("id: a\nid: !x b\n")).toEqual([`2:1 ${twice}`, expect.stringMatching(/^2:5 tags like/)]);
  });

  test("is told the same doubled keys as the parser's own check tells, at the same places", () => {
    const key = fc.constantFrom("a", "b", '"a"', "'b'", "&x a", "? a\n", "", "1");
    const flow = fc.letrec<{ value: string }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom("1", "a", ""),
        fc
          .array(fc.tuple(key, tie("value")), { maxLength: 4 })
          .map((of) => `{${of.map(([k, v]) => `${k.trim()}: ${v}`).join(", ")}}`),
        fc.array(tie("value"), { maxLength: 3 }).map((of) => `[${of.join(", ")}]`),
      ),
    })).value;
    const block = fc
      .array(fc.tuple(key, flow), { maxLength: 5 })
      .map((of) => of.map(([k, v]) => `${k}: ${v}\n`).join(""));
    let doubled = 0;
    fc.assert(
      fc.property(fc.oneof(block, flow), (text) => {
        const options = {
          merge: false,
          stringKeys: true,
          prettyErrors: false,
          lineCounter: new LineCounter(),
        } as const;
        const { errors } = parseDocument(text, options);
        // What is broken in another way, too, is refused for that.
        fc.pre(errors.every(({ code }) => code === "DUPLICATE_KEY"));
        const theirs = errors.map(({ pos }) => pos[0]).toSorted((x, y) => x - y);
        const ours = duplicateKeys(parseDocument(text, { ...options, uniqueKeys: false }));
        expect(ours.length, text).toBe(theirs.length);
        // Where a value is missing before a key, theirs is the blank before the key.
        for (const [n, at] of ours.entries()) expect(text.slice(theirs[n], at).trim(), text).toBe("");
        expect(ours.every((at, n) => theirs[n]! <= at)).toBe(true);
        doubled += ours.length;
      }),
      { numRuns: 3_000 },
    );
    expect(doubled).toBeGreaterThan(500);
  });
});
