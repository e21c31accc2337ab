import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { sourceFiles } from "./rooms.ts";

/** Rules of ours that the linter cannot express, checked on the text of every source file. */
const ROOT = path.resolve(import.meta.dirname, "../..");

type TextRule = { rule: string; files: RegExp; refuses: RegExp; unless?: RegExp };

const RULES: readonly TextRule[] = [
  {
    rule: "a comment that disables a check gives its reason on the same line, after --",
    files: /./,
    refuses: /(?:\/\/|\/\*)\s*(?:ox|es)lint-disable|@ts-(?:expect-error|ignore|nocheck)/,
    unless: /--\s*\S{3,}.*\S|@ts-expect-error[\s:-]+\S{3,}/,
  },
  { rule: "@ts-ignore hides more than it says", files: /./, refuses: /@ts-(?:ignore|nocheck)/ },
  {
    rule: "time is an argument in domain and engine",
    files: /^lib\/(?:domain|engine)\//,
    refuses: /new Date\(\s*\)|\bDate\(\s*\)/,
  },
  {
    rule: "chance and ids are arguments in domain and engine",
    files: /^lib\/(?:domain|engine)\//,
    refuses: /\brandom(?:UUID|Bytes|Int)\s*\(/,
  },
];

function broken(file: string, text: string): string[] {
  if (/\.test\.tsx?$/.test(file)) return [];
  const lines = text.split("\n");
  return RULES.filter((one) => one.files.test(file)).flatMap((one) =>
    lines.flatMap((line, index) =>
      one.refuses.test(line) && !one.unless?.test(line) ? [`${file}:${index + 1}: ${one.rule}`] : [],
    ),
  );
}

test.for([
  ["lib/engine/a.ts", "// oxlint-disable-next-line no-empty"],
  ["lib/api/a.ts", "/* eslint-disable */"],
  ["lib/api/a.ts", "// @ts-expect-error"],
  ["lib/api/a.ts", "// @ts-ignore -- a reason does not help"],
  ["lib/domain/a.ts", "const at = new Date();"],
  ["lib/engine/a.ts", "const id = randomUUID();"],
] as const)("%s: %s is refused", ([file, line]) => {
  expect(broken(file, line)).not.toEqual([]);
});

test.for([
  ["lib/engine/a.ts", "// oxlint-disable-next-line no-empty -- the error was reported above"],
  ["lib/engine/a.ts", "const at = new Date(row.at);"],
  ["worker/a.ts", "const at = new Date();"],
] as const)("%s: %s is accepted", ([file, line]) => {
  expect(broken(file, line)).toEqual([]);
});

test("our own sources keep the rules", () => {
  const own = sourceFiles(ROOT).filter((file) => file !== "lib/testing/rules.test.ts");
  expect(own.flatMap((file) => broken(file, readFileSync(path.join(ROOT, file), "utf8")))).toEqual([]);
});
