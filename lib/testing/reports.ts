import { z } from "zod";
import type { Count } from "./steps.ts";

const VitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) })),
});

/** A file that failed outside its tests (an import, a hook) counts as one failed test. */
export function countVitest(report: unknown): Count {
  const { numPassedTests, numFailedTests, testResults } = VitestReport.parse(report);
  const brokenFiles = testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every((one) => one.status !== "failed"),
  );
  return { passed: numPassedTests, failed: numFailedTests + brokenFiles.length };
}

const PlaywrightReport = z.object({
  stats: z.object({ expected: z.number(), unexpected: z.number(), flaky: z.number() }),
  errors: z.array(z.unknown()).default([]),
});

/** Errors outside a test (the server did not start, a spec does not load) count as failures. */
export function countPlaywright(report: unknown): Count {
  const { stats, errors } = PlaywrightReport.parse(report);
  return { passed: stats.expected, failed: stats.unexpected + stats.flaky + errors.length };
}
