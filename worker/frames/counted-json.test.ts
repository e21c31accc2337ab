import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonTrouble, parseCounted } from "./counted-json.ts";

/** The most values that one object or list has, and how many commas there are. */
function counted(value: unknown): { each: number; commas: number } {
  if (typeof value !== "object" || value === null) return { each: 0, commas: 0 };
  const inside = Object.values(value).map(counted);
  return {
    each: Math.max(inside.length, ...inside.map(({ each }) => each)),
    commas: Math.max(0, inside.length - 1) + inside.reduce((sum, { commas }) => sum + commas, 0),
  };
}

test("values are counted as they are, whatever texts hold", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const json = Buffer.from(JSON.stringify(value));
      const { each, commas } = counted(value);
      expect(parseCounted(json, { members: each + 1, elements: each + 1, all: commas + 1 })).toEqual(
        JSON.parse(json.toString()),
      );
      if (each > 1)
        expect(jsonTrouble(json, { members: each - 1, elements: each - 1, all: 1_000 })).toMatch(/an object of/);
      if (commas > 0) expect(jsonTrouble(json, { members: 1_000, elements: 1_000, all: commas })).toMatch(/more than/);
    }),
  );
});

test("what is no JSON is left to the parser", () => {
  for (const text of ["", "]]]", '"', '"\\', "[,"])
    expect(() => parseCounted(Buffer.from(text), { members: 10, elements: 10, all: 10 })).toThrow(/JSON/);
});

test("members of an object and elements of a list have limits of their own", () => {
  const limits = { members: 2, elements: 3, all: 100 };
  expect(jsonTrouble(Buffer.from("[1,2,3]"), limits)).toBeUndefined();
  expect(jsonTrouble(Buffer.from('{"a":[1,2,3],"b":"x,y,z"}'), limits)).toBeUndefined();
  expect(jsonTrouble(Buffer.from("[1,2,3,4]"), limits)).toMatch(/3 elements/);
  expect(jsonTrouble(Buffer.from('{"a":1,"b":2,"c":3}'), limits)).toMatch(/2 members/);
});
