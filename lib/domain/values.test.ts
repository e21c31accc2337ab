import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, type Json } from "./canonical.ts";
import { isId, MAX_TASKS_PER_RUN, runIdOf, slotOf, taskInstanceId } from "./ids.ts";
import { MAX_OUTPUT_BYTES, storableJson } from "./output.ts";
import { RUN_MOVES, RUN_STATES, TASK_MOVES, TASK_STATES } from "./states.ts";

describe("ids", () => {
  test("a task instance's id gives back its run and its slot, and grows with both", () => {
    const run = fc.bigInt({ min: 1n, max: 2n ** 42n });
    const slot = fc.nat({ max: MAX_TASKS_PER_RUN - 1 });
    fc.assert(
      fc.property(run, slot, (runId, at) => {
        const id = taskInstanceId(String(runId), at);
        expect(isId(id)).toBe(true);
        expect(runIdOf(id)).toBe(String(runId));
        expect(slotOf(id)).toBe(at);
      }),
    );
  });

  test.each(["", "0", "-1", "01", "1.0", "1e3", "9223372036854775808", "99999999999999999999", "１", "1 "])(
    "%j is no id",
    (text) => expect(isId(text)).toBe(false),
  );
});

describe("canonical JSON", () => {
  test("is valid JSON of the same value, whatever the order of keys", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(reversedKeys(value))).toBe(text);
      }),
    );
  });
});

function reversedKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => reversedKeys(item));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, member]) => [key, reversedKeys(member ?? null)] as const);
  return Object.fromEntries(entries.toReversed());
}

describe("outputs", () => {
  test("what JSON can say is kept as it is", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "grapheme" }), (value) => {
        const text = JSON.stringify(value);
        fc.pre(!text.includes("\\u0000"));
        expect(storableJson(value)).toEqual({ ok: true, json: text });
      }),
    );
    expect(storableJson(undefined)).toEqual({ ok: true, json: undefined });
  });

  const circle: Record<string, unknown> = {};
  circle.self = circle;
  test.each([
    ["a NUL", { text: "a\0b" }],
    ["a NUL in a key", { "a\0": 1 }],
    ["a lone surrogate", ["\ud800"]],
    ["NaN", { value: Number.NaN }],
    ["infinity", [Number.POSITIVE_INFINITY]],
    ["a circle", circle],
    ["a bigint", 1n],
  ])("%s is refused with its reason", (_, value) => {
    expect(storableJson(value)).toMatchObject({ ok: false, reason: "RESULT_UNSTORABLE" });
  });

  test("too much is refused", () => {
    expect(storableJson("x".repeat(MAX_OUTPUT_BYTES))).toMatchObject({ ok: false, reason: "RESULT_TOO_LARGE" });
    expect(storableJson("x".repeat(MAX_OUTPUT_BYTES - 2))).toMatchObject({ ok: true });
  });
});

describe("state tables", () => {
  test("every state can be reached from the first, and from every one an end can be reached", () => {
    const check = (moves: Record<string, readonly string[]>, states: readonly string[], first: string): void => {
      const reach = (from: string): Set<string> => {
        const seen = new Set([from]);
        for (const state of seen) moves[state]!.forEach((next) => seen.add(next));
        return seen;
      };
      expect([...reach(first)].toSorted()).toEqual([...states].toSorted());
      for (const state of states) expect([...reach(state)].some((end) => moves[end]!.length === 0)).toBe(true);
    };
    check(RUN_MOVES, RUN_STATES, "queued");
    check(TASK_MOVES, TASK_STATES, "waiting");
  });
});
