import { describe, expect, test } from "vitest";
import { createBudget } from "./budget.ts";
import { createShared, evaluateExpression, evaluateTemplate, type ExpressionValues } from "./evaluate.ts";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** A megabyte of each kind, as a parent's output may have it. */
const OUTPUTS: Record<string, unknown> = {
  list: numbers(140_000),
  texts: Array.from({ length: 60_000 }, (_, n) => `text ${n % 10}`.padEnd(12)),
  lists: Array.from({ length: 2_000 }, () => numbers(100)),
  same: Array.from({ length: 2_000 }, () => numbers(100)),
  map: Object.fromEntries(numbers(60_000).map((n) => [`key ${n}`, n])),
  text: "a".repeat(1_000_000),
  digits: "1".repeat(1_000_000),
  part: `${"a".repeat(200_000)}b${"a".repeat(200_000)}`,
  before: `b${"a".repeat(500_000)}`,
  quotes: "'".repeat(1_000_000),
  json: `[${"1,".repeat(499_999)}1]`,
};

const VALUES: ExpressionValues = {
  params: {},
  outputs: OUTPUTS,
  xcoms: {},
  run: {
    id: "7",
    dagId: "etl",
    logicalDate: "2026-01-01T00:00:00.000Z",
    intervalStart: "2026-01-01T00:00:00.000Z",
    intervalEnd: "2026-03-29T22:00:00.000Z",
    triggerKind: "manual",
  },
  task: { id: "load", attempt: 1, attemptId: "a-1" },
};

/** Bindings in bindings, each of which has the one before twice in it. */
const doubled = (first: string, each: (name: string) => string, levels = 24): string =>
  Array.from({ length: levels }, (_, n) => n).reduceRight(
    (inner, n) => `cel.bind(v${n}, ${n === 0 ? first : each(`v${n - 1}`)}, ${inner})`,
    `v${levels - 1}`,
  );

const HOSTILE: Record<string, string> = {
  "a list in a loop over it": "outputs.list.filter(x, x in outputs.list)",
  "the same that is not there": "outputs.list.exists(x, !(-1 - x in outputs.list) && false)",
  "lists that are compared in a loop": "outputs.list.filter(x, outputs.lists == outputs.same)",
  "mappings that are compared in a loop": "outputs.list.filter(x, {'a': outputs.map} == {'a': outputs.map, 'b': 1})",
  ...Object.fromEntries(
    [
      "outputs.map == {}",
      "outputs.map != {}",
      "{} == outputs.map",
      "{} in [outputs.map]",
      "outputs.map in [{}]",
      "fromJson('{}') == outputs.map",
      "[outputs.map] == [{}]",
      "[[{'a': outputs.map}]] != [[{'a': {}}]]",
      "[{}] in [[outputs.map]]",
    ].map((each) => [`keys that are listed in a loop: ${each}`, `outputs.list.filter(x, ${each})`]),
  ),
  "lists that are made in a loop": `outputs.list.map(x, ${"[".repeat(28)}x${"]".repeat(28)})`,
  "mappings that are made in a loop": `outputs.list.map(x, ${"{'a':".repeat(28)}x${"}".repeat(28)})`,
  "a large mapping that is made in a loop": `outputs.list.map(x, {${Array.from({ length: 24 }, (_, n) => `'${n}': x`).join()}})`,
  "a square of values": "outputs.list.map(x, outputs.list)",
  "sums of lists in a loop": "outputs.list.map(x, outputs.lists + [x])",
  "JSON in a loop": "outputs.list.map(x, toJson(outputs.map))",
  "JSON that is read in a loop": "outputs.list.map(x, fromJson(outputs.json))",
  "a text that is searched in a loop": "outputs.list.filter(x, outputs.text.contains('b'))",
  "a pattern that begins everywhere": "outputs.text.contains(outputs.part)",
  "a pattern that ends everywhere": "outputs.text.lastIndexOf(outputs.before)",
  "characters that are joined by texts": "outputs.text.split('').join(outputs.text)",
  "parts in a loop": "outputs.list.map(x, outputs.text.split(''))",
  "a sum of texts": Array.from({ length: 250 }, () => "outputs.text").join(" + "),
  "texts that are doubled": doubled("outputs.text", (name) => `${name} + ${name}`),
  "lists that are doubled": doubled("[1]", (name) => `${name} + ${name}`),
  "lists of lists that are doubled": doubled("[1]", (name) => `[${name}, ${name}]`),
  "mistakes in a loop": "outputs.list.exists(x, x.nope == 1)",
  "mistakes in half of a loop": "outputs.list.map(x, x.nope == 1 || true)",
  "a long duration": "duration(outputs.digits)",
  "durations in a loop": "outputs.list.map(x, duration('1h1m1s1h1m1s1h1m1s1h1m1s1h1m1s'))",
  "clocks in a loop": "outputs.list.map(x, run.logicalDate.getHours('Asia/Kathmandu'))",
  "keys in a loop": "outputs.list.filter(x, size(outputs.map) > x)",
  "members in a loop": "outputs.list.filter(x, string(x) in outputs.map || outputs.map == x)",
  "quoting in a loop": "outputs.list.map(x, shellQuote(outputs.quotes))",
  "many operators in a loop": `outputs.list.map(x, ${Array.from({ length: 400 }, () => "x").join(" + ")})`,
  "spent and caught": "outputs.list.filter(x, x in outputs.list || true)",
};

/** To convert the megabytes takes longer than most tests. */
const converted = new WeakMap<object, unknown>();
const evaluated = (source: string) => evaluateExpression(source, VALUES, { budget: createBudget(), converted });

/** Seconds of the processor. */
function cost(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000_000;
}

const REFUSED = /the expressions of one task may take 10 million steps|has at most 64 characters|at most 16777216/;
/** These end by themselves, and must not take long for it. */
const ENDS = ["mistakes in a loop", "members in a loop"];

describe("an expression over a megabyte", () => {
  // A tenth of this is what they take; without their costs, minutes and all memory.
  test.each(Object.keys(HOSTILE))("ends soon, with a reason: %s", { timeout: 60_000 }, (name) => {
    let result = evaluated("1");
    expect(cost(() => (result = evaluated(HOSTILE[name]!)))).toBeLessThan(10);
    if (ENDS.includes(name)) return;
    expect(result).toEqual({ ok: false, error: expect.stringMatching(REFUSED) });
    if (!result.ok) expect(result.error).toContain(HOSTILE[name]!.slice(0, 20));
  });

  test("that looks at each value once gives its value", () => {
    const value = (source: string): unknown => {
      const result = evaluated(source);
      return result.ok ? result.value : result.error;
    };
    expect(value("size(outputs.list.filter(x, x % 2 == 0 && x != 4 && x < 139998))")).toBe(69_998);
    expect(value("outputs.list.map(x, {'n': x, 'text': string(x)}).size()")).toBe(140_000);
    expect(value("outputs.map == outputs.map && outputs.map != {} && !({} in [outputs.map])")).toBe(true);
    expect(value("toJson(outputs.map).size()")).toBe(JSON.stringify(OUTPUTS["map"]).length);
    expect(value("outputs.list.filter(x, 'key ' + string(x) in outputs.map).size()")).toBe(60_000);
    expect(value("outputs.lists == outputs.same && 139999 in outputs.list")).toBe(true);
    expect(value("outputs.list[0] in outputs.texts")).toBe(false);
    expect(value("size(fromJson(outputs.json))")).toBe(500_000);
    expect(value("outputs.texts.join('\\n').contains('text 9')")).toBe(true);
    expect(value("outputs.lists.map(l, l.exists_one)")).toMatch(/No such key/);
  });
});

test("a value has at most so many characters as JSON as a text has", () => {
  const length = (source: string): unknown => {
    const result = evaluated(source);
    return result.ok ? JSON.stringify(result.value).length : result.error;
  };
  const refused = "an expression gives at most 1048576 characters, as text or as JSON";
  expect(length("outputs.list")).toBe(JSON.stringify(OUTPUTS["list"]).length);
  expect(length("[outputs.text]")).toBe(1_000_004);
  expect(length("[outputs.text, outputs.text]")).toBe(refused);
  expect(length("{'a': outputs.list, 'b': outputs.list}")).toBe(refused);
  // Each of its characters is two of JSON.
  expect(length(String.raw`outputs.lists.map(x, '"'.size())`)).toBe(4_001);
  expect(length(String.raw`outputs.list.map(x, '""""')`)).toBe(refused);
});

test("the expressions of one task share what they may do, and the same value is converted once", () => {
  const shared = createShared();
  const half = "${{ size(outputs.list.filter(x, x in [1, 2, 3, 4, 5] && x == x + 1 - 1)) }}";
  const results = Array.from({ length: 4 }, () => evaluateTemplate(half, VALUES, shared));
  expect(results.map(({ ok }) => ok)).toEqual([true, true, false, false]);
  const before = process.cpuUsage().user;
  const many = createShared();
  for (let n = 0; n < 2_000; n++) expect(evaluateTemplate("${{ outputs.list[7] }}", VALUES, many).ok).toBe(true);
  // Two thousand conversions of a megabyte take a minute.
  expect((process.cpuUsage().user - before) / 1_000_000).toBeLessThan(10);
});

test("the shape of a value is no type that is kept", () => {
  const values = { ...VALUES, outputs: { a: [[[{ b: [1] }]]], b: { c: { d: [] } } } };
  const error = (source: string): unknown => {
    const result = evaluateExpression(source, values);
    return result.ok ? result.value : result.error.replace(/^.*: no such overload/, "no such overload");
  };
  expect(error("outputs.a + 1")).toBe("no such overload: dyn<list<dyn>> + int");
  expect(error("outputs.b + outputs.a")).toBe("no such overload: dyn<map<dyn, dyn>> + dyn<list<dyn>>");
  expect(error("[[[{'b': [1]}]]] + 1")).toBe("no such overload: list<dyn> + int");
});

test("values are read to a depth of a hundred", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  const result = (levels: number) =>
    evaluateExpression("toJson(outputs.a)", { ...VALUES, outputs: { a: nested(levels), b: 1 } });
  expect(result(100)).toEqual({ ok: true, value: `${"[".repeat(100)}1${"]".repeat(100)}` });
  expect(result(5_000)).toMatchObject({ ok: false, error: expect.stringMatching(/nested more than 100 deep/) });
  expect(evaluateExpression("bytes('{}').json()", VALUES)).toMatchObject({ ok: false });
});
