import { expect, test } from "vitest";
import { z } from "zod";
import { ANSWERS_LATER, checkBy, jsonSchemaOf, keysOf, type StandardSchema } from "./standard-schema.ts";

const schemaOf = (validate: (value: unknown) => unknown): StandardSchema =>
  ({ "~standard": { version: 1, vendor: "test", validate } }) as StandardSchema;

test("a value is what the schema makes of it", () => {
  const schema = z.strictObject({ n: z.coerce.number(), s: z.string().default("x") });
  expect(checkBy(schema, { n: "4" })).toEqual({ ok: true, value: { n: 4, s: "x" } });
});

test("issues have plain paths, whether a library writes keys or objects with keys, and name unknown keys", () => {
  const others = schemaOf(() => ({ issues: [{ message: "no", path: [{ key: "a" }, 0] }, { message: "whole" }] }));
  expect(checkBy(others, {})).toEqual({
    ok: false,
    issues: [
      { path: ["a", 0], message: "no" },
      { path: [], message: "whole" },
    ],
  });
  expect(checkBy(z.strictObject({ a: z.strictObject({}) }), { a: { b: 1, c: 1 } })).toMatchObject({
    issues: [{ path: ["a"], unknownKeys: ["b", "c"] }],
  });
});

test("a schema that answers later or throws is an issue, and no rejection is left behind", async () => {
  const later = schemaOf(() => Promise.reject(new Error("late")));
  expect(checkBy(later, {})).toEqual({ ok: false, issues: [{ path: [], message: ANSWERS_LATER }] });
  const throwing = schemaOf(() => {
    throw new Error("boom");
  });
  expect(checkBy(throwing, {})).toEqual({ ok: false, issues: [{ path: [], message: "the schema failed: boom" }] });
  await new Promise((resolve) => setImmediate(resolve));
});

test("the keys of a mapping at a path are known where the library can say them", () => {
  const schema = z.object({ a: z.object({ b: z.string() }), list: z.array(z.object({ c: z.string() })) });
  expect(keysOf(schema, [])).toEqual(["a", "list"]);
  expect(keysOf(schema, ["a"])).toEqual(["b"]);
  expect(keysOf(schema, ["list", 3])).toEqual(["c"]);
  expect(keysOf(schema, ["nope", "deeper"])).toBeUndefined();
  expect(keysOf(z.strictObject({}), [])).toEqual([]);
  expect(
    keysOf(
      schemaOf(() => ({ value: 1 })),
      [],
    ),
  ).toBeUndefined();
  expect(keysOf(z.object({ d: z.date() }), [])).toBeUndefined();
  expect(jsonSchemaOf(schema)).toMatchObject({ type: "object", required: ["a", "list"] });
  expect(jsonSchemaOf(schema)).not.toHaveProperty("$schema");
  const circular: z.ZodType = z.object({
    get next() {
      return circular.optional();
    },
  });
  expect(jsonSchemaOf(circular)).toBeUndefined();
});
