import fc from "fast-check";
import { expect, test } from "vitest";
import { parentXcoms, storableXcoms } from "./xcom.ts";

test("what a task leaves is kept by key, its output apart", () => {
  expect(storableXcoms({ rows: 1 }, { file: "a.csv", none: undefined })).toEqual({
    ok: true,
    output: '{"rows":1}',
    pushed: { file: '"a.csv"' },
  });
  expect(parentXcoms({ a: { return_value: 1, file: "x" }, b: { return_value: null }, c: { only: [2] } })).toEqual({
    outputs: { a: 1, b: null },
    xcoms: { a: { file: "x" }, c: { only: [2] } },
  });
});

test("what cannot be kept is told with its key", () => {
  const error = (output: unknown, pushed: Record<string, unknown>): unknown => {
    const kept = storableXcoms(output, pushed);
    return kept.ok ? undefined : `${kept.reason}: ${kept.error}`;
  };
  expect(error("\0", {})).toBe(
    "RESULT_UNSTORABLE: the output cannot be kept: it holds a NUL character, which the database cannot store",
  );
  expect(error(1, { big: "x".repeat(2 ** 20) })).toBe(
    'RESULT_TOO_LARGE: the XCom "big" cannot be kept: it has 1048578 bytes of JSON; at most 1048576 are kept',
  );
  expect(error(1, { half: "\ud800" })).toContain('the XCom "half" cannot be kept: it holds half of a surrogate pair');
  expect(error(1, { n: Number.NaN })).toContain("it holds NaN");
  expect(error(1, { return_value: 2 })).toBe(
    'RESULT_UNSTORABLE: "return_value" is the task\'s output and cannot be pushed',
  );
  expect(error(1, { "../x": 2 })).toContain('"../x" is not the key of an XCom; a key is a letter and then');
  expect(error(1, { __proto__x: 2 })).toContain("is not the key");
  expect(error(1, Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`k${n}`, n])))).toContain("65 XComs");
});

test("whatever is pushed, the answer is texts of JSON or a reason", () => {
  fc.assert(
    fc.property(fc.anything(), fc.dictionary(fc.string(), fc.anything()), (output, pushed) => {
      const kept = storableXcoms(output, pushed);
      if (!kept.ok) expect(kept.error).not.toBe("");
      else for (const text of Object.values(kept.pushed)) JSON.parse(text);
    }),
  );
});
