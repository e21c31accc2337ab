import { expect, test } from "vitest";
import { readPlaywright, readVitest } from "./reports.ts";

test("a file that fails outside its tests counts as one failure, and each failure is told by its name", () => {
  const passed = { status: "passed", fullName: "is right" };
  const failed = { status: "failed", fullName: "is wrong", failureMessages: ["1 is not 2\n    at a.ts:3:4"] };
  const report = {
    numPassedTests: 3,
    numFailedTests: 1,
    testResults: [
      { name: "a.ts", status: "passed", assertionResults: [passed] },
      { name: "b.ts", status: "failed", assertionResults: [passed, failed] },
      { name: "c.ts", status: "failed", message: "no module x", assertionResults: [] },
      { name: "d.ts", status: "failed", assertionResults: [{ status: "skipped", fullName: "is left out" }] },
    ],
  };
  expect(readVitest(report)).toEqual({
    passed: 3,
    failed: 3,
    failures: ["b.ts > is wrong\n  1 is not 2", "c.ts\n  no module x", "d.ts"],
  });
});

test("an error outside every browser test and a flaky test count as failures", () => {
  const test = (status: string, ...errors: { message: string }[]): unknown => ({ status, results: [{ errors }] });
  const spec = (title: string, tests: unknown): unknown => ({ file: "a.spec.ts", title, tests: [tests] });
  const stats = { expected: 4, unexpected: 1, flaky: 1, skipped: 2 };
  const suites = [
    {
      specs: [spec("is right", test("expected"))],
      suites: [
        { specs: [spec("is wrong", test("unexpected", { message: "not there" })), spec("is slow", test("flaky"))] },
      ],
    },
  ];
  expect(readPlaywright({ stats, suites, errors: [{ message: "the server did not start" }] })).toEqual({
    passed: 4,
    failed: 3,
    failures: [
      "a.spec.ts > is wrong\n  not there",
      "a.spec.ts > is slow",
      "outside every test\n  the server did not start",
    ],
  });
});

test("a report of another shape is an error, not zero tests", () => {
  expect(() => readVitest({})).toThrow();
  expect(() => readPlaywright({ stats: {} })).toThrow();
});
