import { z } from "zod";
import { failure, type Outcome } from "./steps.ts";

const VitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().default(""),
      assertionResults: z.array(
        z.object({ status: z.string(), fullName: z.string(), failureMessages: z.array(z.string()).default([]) }),
      ),
    }),
  ),
});

/** A file that failed outside its tests (an import, a hook) counts as one failed test. */
export function readVitest(report: unknown): Outcome {
  const { numPassedTests, numFailedTests, testResults } = VitestReport.parse(report);
  const brokenFiles = testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every((one) => one.status !== "failed"),
  );
  const failures = testResults.flatMap((file) =>
    file.assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => failure(`${file.name} > ${fullName}`, failureMessages.join("\n"))),
  );
  failures.push(...brokenFiles.map((file) => failure(file.name, file.message)));
  return { passed: numPassedTests, failed: numFailedTests + brokenFiles.length, failures };
}

const PlaywrightError = z.object({ message: z.string().default("") });
const PlaywrightSuite = z.object({
  specs: z
    .array(
      z.object({
        file: z.string(),
        title: z.string(),
        tests: z.array(
          z.object({
            status: z.string(),
            results: z.array(z.object({ errors: z.array(PlaywrightError).default([]) })),
          }),
        ),
      }),
    )
    .default([]),
  get suites() {
    return z.array(PlaywrightSuite).default([]);
  },
});
type PlaywrightSuite = z.infer<typeof PlaywrightSuite>;

const PlaywrightReport = z.object({
  stats: z.object({ expected: z.number(), unexpected: z.number(), flaky: z.number() }),
  errors: z.array(PlaywrightError).default([]),
  suites: z.array(PlaywrightSuite).default([]),
});

/** Errors outside a test (the server did not start, a spec does not load) and flaky tests count as failures. */
export function readPlaywright(report: unknown): Outcome {
  const { stats, errors, suites } = PlaywrightReport.parse(report);
  const failures = suites
    .flatMap(specsOf)
    .filter(({ tests }) => tests.some(({ status }) => status === "unexpected" || status === "flaky"))
    .map(({ file, title, tests }) => {
      const messages = tests.flatMap(({ results }) => results.flatMap((result) => result.errors));
      return failure(`${file} > ${title}`, messages.map(({ message }) => message).join("\n"));
    });
  failures.push(...errors.map(({ message }) => failure("outside every test", message)));
  return { passed: stats.expected, failed: stats.unexpected + stats.flaky + errors.length, failures };
}

function specsOf({ specs, suites }: PlaywrightSuite): PlaywrightSuite["specs"] {
  return [...specs, ...suites.flatMap(specsOf)];
}
