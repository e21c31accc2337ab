import { describe, expect, test } from "vitest";
import { parseDefinition } from "../definition/parse.ts";
import { checkTemplate } from "./check.ts";
import { evaluateTemplate } from "./evaluate.ts";
import { secretNamesIn } from "./secret-references.ts";

const SCOPE = { params: new Set(["name"]), outputs: new Set<string>() };
const problems = (text: string): string[] => checkTemplate(text, SCOPE).map((p) => `${p.offset} ${p.message}`);

const value = (text: string): unknown => {
  const result = evaluateTemplate(text, {
    params: { name: "TOKEN" },
    outputs: {},
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
    secrets: { TOKEN: "hunter2-hunter2", KEY: '{"user": "etl", "password": "s3cret-word"}' },
  });
  return result.ok ? result.value : `error: ${result.error}`;
};

describe("a secret in an expression", () => {
  test.each([
    ["${{ secrets.TOKEN }}", "hunter2-hunter2"],
    ['Bearer ${{ secrets["TOKEN"] }}', "Bearer hunter2-hunter2"],
    ["${{ fromJson(secrets.KEY).password }}", "s3cret-word"],
    ["${{ {'authorization': 'Bearer ' + secrets.TOKEN} }}", { authorization: "Bearer hunter2-hunter2" }],
  ])("%s is its value", (text, expected) => {
    expect(problems(text)).toEqual([]);
    expect(value(text)).toEqual(expected);
  });

  test("is named as it is: by no other value, not together with all others, not by a name no store can hold", () => {
    const unnamed = (at: number) => [`${at} a secret is written with its name, as in secrets.WAREHOUSE_URL`];
    expect(problems("${{ secrets[params.name] }}")).toEqual(unnamed(4));
    expect(problems("${{ toJson(secrets) }}")).toEqual(unnamed(11));
    expect(problems("${{ secrets.map(name, name) }}")).toEqual(unnamed(4));
    expect(problems("${{ has(secrets.TOKEN) }}")).toEqual([]);
    expect(problems('${{ secrets["my-key"] }}')).toEqual([
      expect.stringMatching(/^4 "my-key" is not the name of a secret; .* like WAREHOUSE_URL$/),
    ]);
  });

  test("is in no error: a part of it would be found by no mask", () => {
    for (const text of ["${{ fromJson(secrets.TOKEN) }}", "${{ int(secrets.TOKEN) }}", "${{ secrets.TOKEN / 2 }}"]) {
      expect(value(text)).toMatch(/^error: .*TOKEN.*: this fails; why is not told/);
      expect(value(text)).not.toContain("hunt");
    }
  });

  test("is found wherever it stands in a task", () => {
    const config = { url: "https://${{ secrets.HOST }}/${{ params.name }}", headers: { a: ["${{ secrets.A }}"] } };
    expect(
      secretNamesIn([config, { B: "${{ secrets.A + secrets.B }}", C: "$${{ secrets.C }}", D: "${{ broken" }]),
    ).toEqual(["HOST", "A", "B"]);
  });
});

describe("a definition", () => {
  const told = (task: string): string[] => {
    const result = parseDefinition(`id: a\ntasks:\n  - id: x\n${task}`, "a.yaml");
    return result.ok ? [] : result.problems.map(({ line, message }) => `${line} ${message}`);
  };

  test("may use secrets in env, in what is no program text, and in callbacks", () => {
    expect(told('    bash: echo "$TOKEN" | login\n    env: { TOKEN: "${{ secrets.TOKEN }}" }\n')).toEqual([]);
    expect(
      told('    http: { url: "https://example.org", headers: { authorization: "Bearer ${{ secrets.TOKEN }}" } }\n'),
    ).toEqual([]);
    expect(told('    noop:\n    callbacks: { onFailure: [{ http: { url: "${{ secrets.HOOK_URL }}" } }] }\n')).toEqual(
      [],
    );
  });

  test("may not where others could read them", () => {
    expect(told('    bash: login "${{ secrets.TOKEN }}"\n')[0]).toMatch(
      /^4 task "x": bash: an expression cannot stand/,
    );
    expect(told('    python: { code: pass, args: [a, "${{ secrets.TOKEN }}"] }\n')).toEqual([
      expect.stringMatching(/^4 task "x": python.args\[1\]: a secret cannot stand in "args", which other users/),
    ]);
    expect(told('    condition: ${{ secrets.TOKEN == "x" }}\n    noop:\n')).toEqual([
      '4 task "x": condition: a secret cannot be used in a condition: whether the task runs would tell about it',
    ]);
  });
});
