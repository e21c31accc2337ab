import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { ATTACKS } from "./attacks.ts";
import { missingTests, type NamedTest } from "./named-tests.ts";

const PAGE = path.resolve(import.meta.dirname, "../../docs/reliability.md");

test("each kind of attack has tests, and they are there", () => {
  expect(Object.entries(ATTACKS).filter(([, tests]) => tests.length === 0)).toEqual([]);
  expect(missingTests(Object.values(ATTACKS).flat())).toEqual([]);
});

test("each fault of docs/reliability.md has tests, and they are there", () => {
  const rows = readFileSync(PAGE, "utf8")
    .split("\n")
    .filter((line) => /^\| (?!fault |-)/.test(line));
  expect(rows.length).toBeGreaterThan(20);
  for (const row of rows) {
    let file = "";
    const tests: NamedTest[] = [];
    for (const [, link, title] of row.matchAll(/\]\(\.\.\/([^)]+)\): |"([^"]+)"/g)) {
      if (link !== undefined) file = link;
      else tests.push([file, title!]);
    }
    expect(tests.length, row).toBeGreaterThan(0);
    expect(missingTests(tests)).toEqual([]);
  }
});

test("a test that is not there is missed", () => {
  const here: NamedTest = ["lib/testing/attacks.test.ts", "a test that is not there is missed"];
  expect(missingTests([here, [here[0], "missed"], ["lib/testing/nowhere.test.ts", here[1]]])).toHaveLength(2);
});
