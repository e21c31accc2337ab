import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDefinition } from "./definition/parse.ts";
import { DagSpec } from "./model/dag.ts";
import { storableProblems, storableText, textTrouble } from "./storable.ts";

/** What a definition, a request or an output holds must be what the database can keep. */

test("a text is kept unless it holds a NUL or half of a character", () => {
  for (const text of ["", "plain", "\u{1F600}", "\uFFFD", "\u0001"]) expect(textTrouble(text)).toBeUndefined();
  expect(textTrouble("a\0")).toMatch(/NUL/);
  for (const text of ["\ud800", "\udc00", "\ude00\ud83d"]) expect(textTrouble(text)).toMatch(/surrogate/);
});

test("whatever a text was, its storable form can be kept", () => {
  const unit = fc.constantFrom("a", "\0", "\ud83d", "\ude00", "ä");
  fc.assert(
    fc.property(fc.string({ unit }), (text) => {
      expect(textTrouble(storableText(text))).toBeUndefined();
      if (textTrouble(text) === undefined) expect(storableText(text)).toBe(text);
    }),
  );
});

test("texts and keys are found wherever they are, and deep data costs no stack", () => {
  const data = { fine: 1, list: ["ok", { "k\0": null, deep: "\ud800" }] };
  expect(storableProblems(data)).toEqual([
    { path: ["list", 1], message: expect.stringMatching(/^the key "k\uFFFD" holds a NUL/) },
    { path: ["list", 1, "deep"], message: expect.stringMatching(/surrogate/) },
  ]);
  let deep: unknown = "\0";
  for (let n = 0; n < 100_000; n++) deep = [deep];
  expect(storableProblems(deep)).toHaveLength(1);
  expect(storableProblems(Array.from({ length: 1_000 }, () => "\0"))).toHaveLength(10);
});

/** Every place of a definition that takes a text or any data, with one that cannot be kept. */
const PLACES: Record<string, (bad: string) => string> = {
  "the command": (bad) => `id: a\ntasks: [{ id: x, bash: ${bad} }]`,
  "a variable": (bad) => `id: a\ntasks: [{ id: x, bash: "true", env: { A: ${bad} } }]`,
  "a name": (bad) => `id: a\nname: ${bad}\ntasks: [{ id: x, noop: }]`,
  "a description": (bad) => `id: a\ndescription: ${bad}\ntasks: [{ id: x, noop: }]`,
  "a tag": (bad) => `id: a\ntags: [${bad}]\ntasks: [{ id: x, noop: }]`,
  "a default": (bad) => `id: a\nparams: { p: { default: ${bad} } }\ntasks: [{ id: x, noop: }]`,
  "a default's key": (bad) => `id: a\nparams: { p: { default: { ${bad}: 1 } } }\ntasks: [{ id: x, noop: }]`,
  "an enum": (bad) => `id: a\nparams: { p: { enum: [[${bad}]] } }\ntasks: [{ id: x, noop: }]`,
  "a constant": (bad) => `id: a\nparams: { p: { const: ${bad} } }\ntasks: [{ id: x, noop: }]`,
  "an example": (bad) => `id: a\nparams: { p: { examples: [${bad}] } }\ntasks: [{ id: x, noop: }]`,
  "a property": (bad) => `id: a\nparams: { p: { properties: { ${bad}: {} } } }\ntasks: [{ id: x, noop: }]`,
  "a required property": (bad) => `id: a\nparams: { p: { required: [${bad}] } }\ntasks: [{ id: x, noop: }]`,
  "a header's name": (bad) => `id: a\ntasks: [{ id: x, http: { url: "http://h/", headers: { ${bad}: a } } }]`,
  "a body": (bad) => `id: a\ntasks: [{ id: x, http: { url: "http://h/", method: POST, json: { a: [${bad}] } } }]`,
  "a callback": (bad) =>
    `id: a\ncallbacks: { onFailure: [{ http: { url: "http://h/", json: ${bad} } }] }\ntasks: [{ id: x, noop: }]`,
  "a value of a statement": (bad) =>
    `id: a\ntasks: [{ id: x, sql: { connection: "\${{ secrets.W }}", query: select $1, params: [[${bad}]] } }]`,
  "a function": (bad) => `id: a\ntasks: [{ id: x, fn: ${bad.slice(0, -1)}a.ts#go" }]`,
};
const BAD: Record<string, string> = { "a NUL": String.raw`"\0"`, "half of a character": String.raw`"\uD800"` };

describe.for(Object.entries(BAD))("%s", ([, bad]) => {
  test.for(Object.entries(PLACES))("in %s is refused", ([, written]) => {
    const result = parseDefinition(written(bad), "a.yaml");
    const messages = result.ok ? [] : result.problems.map(({ message }) => message);
    expect(messages).toEqual([expect.stringMatching(/NUL|surrogate/)]);
    expect(parseDefinition(written('"/ok"'), "a.yaml")).toMatchObject({ ok: true });
  });
});

test("a text that no field of the model speaks of is refused all the same", () => {
  const tasks = [{ id: "x", type: "mail", config: { to: ["\ud800"] } }];
  const types = { mail: { displayName: "Mail", icon: "mail", slotClass: "inline" } };
  const read = DagSpec.safeParse({ id: "a", types, tasks });
  expect(read.error?.issues).toMatchObject([{ path: ["tasks", 0, "config", "to", 0] }]);
});

test("the text of the file itself is kept, too", () => {
  const result = parseDefinition("id: a\n# \0\ntasks: [{ id: x, noop: }]\n", "a.yaml");
  expect(result).toMatchObject({ ok: false, problems: [{ line: 2, message: expect.stringMatching(/NUL/) }] });
});

test("what is shown of a line is text wherever it is cut", () => {
  for (const pad of ["", "x"]) {
    const result = parseDefinition(`id: a\ntasks: [{ id: x, nop: "${pad}${"\u{1F600}".repeat(200)}" }]\n`, "a.yaml");
    const snippets = result.ok ? [] : result.problems.map(({ snippet }) => snippet!);
    expect(snippets.map((snippet) => snippet.isWellFormed())).toEqual([true]);
  }
});
