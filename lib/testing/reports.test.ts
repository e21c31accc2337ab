import { expect, test } from "vitest";
import { countPlaywright, countVitest } from "./reports.ts";

test("a file that fails outside its tests counts as one failure", () => {
  const report = {
    numPassedTests: 3,
    numFailedTests: 1,
    testResults: [
      { status: "passed", assertionResults: [{ status: "passed" }] },
      { status: "failed", assertionResults: [{ status: "passed" }, { status: "failed" }] },
      { status: "failed", assertionResults: [] },
      { status: "failed", assertionResults: [{ status: "skipped" }] },
    ],
  };
  expect(countVitest(report)).toEqual({ passed: 3, failed: 3 });
});

test("an error outside every browser test and a flaky test count as failures", () => {
  const stats = { expected: 4, unexpected: 1, flaky: 1, skipped: 2 };
  expect(countPlaywright({ stats, errors: [{ message: "the server did not start" }] })).toEqual({
    passed: 4,
    failed: 3,
  });
});

test("a report of another shape is an error, not zero tests", () => {
  expect(() => countVitest({})).toThrow();
  expect(() => countPlaywright({ stats: {} })).toThrow();
});
