import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkExpression, checkTemplate } from "./check.ts";
import { ESCAPE_PAYLOADS } from "./escape-payloads.ts";
import { evaluateCondition, evaluateExpression, evaluateTemplate, type ExpressionValues } from "./evaluate.ts";
import { parseTemplate } from "./template.ts";

const VALUES: ExpressionValues = {
  params: { n: 3, f: 1.5, name: "x", o: { a: 1 }, list: [1, 2, "c"], yes: true, none: null },
  xcoms: { extract: { file: "a.csv" } },
  outputs: { extract: { rows: 4 }, "my-task": ["a"] },
  run: {
    id: "7",
    dagId: "etl",
    logicalDate: "2026-03-29T01:30:00.000Z",
    intervalStart: "2026-03-29T01:30:00.000Z",
    intervalEnd: "2026-03-29T22:00:00.000Z",
    triggerKind: "manual",
  },
  task: { id: "load", attempt: 2, attemptId: "a-1" },
};
const SCOPE = { params: new Set(Object.keys(VALUES.params)), outputs: new Set(Object.keys(VALUES.outputs)) };

const value = (text: string): unknown => {
  const result = evaluateTemplate(text, VALUES);
  return result.ok ? result.value : `error: ${result.error}`;
};

describe("a text with expressions", () => {
  test.each([
    ["${{ params.n + 1 }}", 4],
    ["${{ params.f * 2 }}", 3],
    ["${{ params.n / 2 }}", 1],
    ["${{ params.n / 2.0 }}", 1.5],
    ["${{ params.list }}", [1, 2, "c"]],
    ["${{ params.none }}", null],
    ["${{ params.o }}", { a: 1 }],
    ['${{ outputs["my-task"][0] }}', "a"],
    ["${{ xcoms.extract.file }}", "a.csv"],
    ["n=${{ params.n }} o=${{ params.o }}", 'n=3 o={"a":1}'],
    ["${{ outputs.extract.rows > 3 ? 'many' : 'few' }}", "many"],
    ["${{ run.logicalDate + duration('1h') }}", "2026-03-29T02:30:00.000Z"],
    ["${{ run.logicalDate.getFullYear() }}", 2026],
    ["${{ run.intervalStart }}", "2026-03-29T01:30:00.000Z"],
    ["${{ run.intervalEnd - run.intervalStart }}", "73800s"],
    ["${{ duration('90s') }}", "90s"],
    ["${{ {'a': {'b': 1}} }}", { a: { b: 1 } }],
    ["${{ '}}' }}", "}}"],
    ["${{ params.list.filter(x, x != 'c') }}", [1, 2]],
    ["${{ has(outputs.extract.columns) }}", false],
    ['${{ shellQuote("it\'s") }}', String.raw`'it'\''s'`],
    ["${{ fromJson(toJson(params.o)).a }}", 1],
    ["$${{ not one }} ${{ 1 }}", "${{ not one }} 1"],
    ["plain", "plain"],
  ])("%s", (text, expected) => {
    expect(value(text)).toEqual(expected);
    expect(checkTemplate(text, SCOPE)).toEqual([]);
  });

  test("tells what went wrong when it is evaluated", () => {
    expect(value("${{ outputs.extract.columns }}")).toBe("error: outputs.extract.columns: No such key: columns");
    expect(value("${{ 1 / 0 }}")).toMatch(/division by zero/);
    expect(value("${{ b'a' }}")).toMatch(/bytes/);
    expect(evaluateCondition("${{ params.n }}", VALUES)).toEqual({
      ok: false,
      error: "a condition must be true or false; ${{ params.n }} is 3",
    });
    expect(evaluateCondition("${{ params.yes && outputs.extract.rows == 4 }}", VALUES)).toEqual({
      ok: true,
      value: true,
    });
  });

  test("is checked before any run, with the place of each mistake", () => {
    const problems = (text: string): string[] => checkTemplate(text, SCOPE).map((p) => `${p.offset} ${p.message}`);
    expect(problems("a ${{ params.nme }}")).toEqual(['6 "nme" is not a param of this DAG; did you mean "name"?']);
    expect(problems("${{ outputs.load }}")).toEqual([
      '4 "load" is not a task in dependsOn; there is: extract, my-task',
    ]);
    expect(problems("${{ run.date }} ${{ nope }}")).toEqual([
      expect.stringContaining('"date" is not something a run has'),
      expect.stringMatching(/^20 unknown variable: nope/),
    ]);
    expect(problems("${{ params.n + }}")[0]).toMatch(/not an expression/);
    expect(problems("${{ params.n")[0]).toMatch(/^0 this .* no closing/);
    expect(problems("${{ }}")[0]).toMatch(/empty/);
    expect(problems("${{ foo(1) }}")[0]).toMatch(/foo/);
    expect(problems("${{ params.name.matches('(a+)+$') }}")[0]).toMatch(/not available/);
    expect(problems("${{ params.list.map(x, params.list.map(y, y)) }}")[0]).toMatch(/inside another loop/);
    expect(problems(`\${{ ${"1 + ".repeat(1_500)}1 }}`)[0]).toMatch(/at most 4000 characters/);
    expect(problems(`\${{ ${"(".repeat(200)}1${")".repeat(200)} }}`)).toHaveLength(1);
  });
});

describe("values", () => {
  const json = fc.jsonValue().filter((given) => !JSON.stringify(given).includes("__proto__"));

  test("any JSON comes out as it went in", () => {
    fc.assert(
      fc.property(json, (given) => {
        // JSON has no -0.
        const expected = JSON.parse(JSON.stringify(given)) as unknown;
        fc.pre(!/\d{16}|e[+-]?\d/i.test(JSON.stringify(given)));
        const result = evaluateExpression("params.x", { ...VALUES, params: { x: expected } });
        expect(result).toEqual({ ok: true, value: expected });
      }),
    );
  });

  test("splitting any text neither throws nor loses a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("$", "{", "}", '"', "'", "\\", "a", " ") }), (text) => {
        const template = parseTemplate(text);
        checkTemplate(text, SCOPE);
        evaluateTemplate(text, VALUES);
        const isPlain = template.ok && !text.includes("${{");
        if (isPlain) expect(template.parts.map((part) => (part.kind === "text" ? part.text : "")).join("")).toBe(text);
      }),
    );
  });
});

describe("escapes", () => {
  test(`${ESCAPE_PAYLOADS.length} known ways out come to nothing`, () => {
    expect(ESCAPE_PAYLOADS.length).toBeGreaterThan(200);
    const before = Object.getOwnPropertyNames(Object.prototype).join();
    for (const payload of ESCAPE_PAYLOADS) {
      const hostile = {
        ...VALUES,
        params: JSON.parse('{"__proto__":{"polluted":true},"constructor":"data","o":{"a":1}}') as object,
      };
      for (const values of [VALUES, { ...hostile, params: hostile.params as Record<string, unknown> }]) {
        checkExpression(payload, SCOPE);
        const result = evaluateExpression(payload, values);
        // What comes back is data: it has survived JSON, and no function is in it.
        if (result.ok) expect(JSON.parse(JSON.stringify(result.value))).toEqual(result.value);
      }
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before);
  });

  test("hostile work ends quickly", () => {
    const big = {
      ...VALUES,
      params: { ...VALUES.params, big: Array.from({ length: 100_000 }, (_, n) => n), s: "a".repeat(1_000_000) },
    };
    const before = process.cpuUsage();
    for (const source of [
      "params.big.map(x, params.big.map(y, x * y))",
      "params.s.matches('(a+)+b')",
      Array.from({ length: 200 }, () => "params.s").join(" + "),
      "[params.big, params.big].map(l, l.exists(x, x < 0))",
    ]) {
      evaluateTemplate(`\${{ ${source} }}`, big);
    }
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(2_000);
  });
});
