/** `npm test`: every check and every test, all of them whatever fails, and what failed with a line of counts at the end. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { check } from "./check.ts";
import { readPlaywright, readVitest } from "./reports.ts";
import {
  type Command,
  type Count,
  failure,
  type Outcome,
  resultOf,
  ROOT,
  run,
  secondsText,
  type StepResult,
} from "./steps.ts";

const REPORTS = path.join(ROOT, "node_modules/.cache/test-reports");

function reportFile(name: string): string {
  return path.join(REPORTS, `${name}.json`);
}

/** A crash without a failed test counts as one: it must not look like success. */
async function counted(step: Command, read?: (report: unknown) => Outcome): Promise<StepResult> {
  const { name } = step;
  console.log(`\n── ${name}`);
  const ran = await run(step, true);
  if (read === undefined) return resultOf(name, ran);
  const { ok, seconds } = ran;
  try {
    const outcome = read(JSON.parse(readFileSync(reportFile(name), "utf8")));
    if (ok || outcome.failed > 0) return { name, ...outcome, seconds };
  } catch (error) {
    const failures = [failure(`${name} left no report`, String(error))];
    return { name, passed: 0, failed: 1, failures, seconds };
  }
  return resultOf(name, ran);
}

function vitest(project: string): Promise<StepResult> {
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile(project)}`];
  const args = ["run", "--project", project, "--passWithNoTests", ...reporters];
  return counted({ name: project, command: "vitest", args }, readVitest);
}

function totalOf(results: readonly Count[]): Count {
  let [passed, failed] = [0, 0];
  for (const result of results) {
    passed += result.passed;
    failed += result.failed;
  }
  return { passed, failed };
}

async function checks(): Promise<StepResult> {
  console.log("── check");
  const startedAt = performance.now();
  const results: StepResult[] = await check().catch((error: unknown) => {
    console.error(error);
    return [{ name: "check", passed: 0, failed: 1, failures: [failure("check", String(error))], seconds: 0 }];
  });
  return {
    name: "check",
    ...totalOf(results),
    failures: results.flatMap(({ failures }) => failures),
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function browserTests(): Promise<StepResult> {
  const found = await counted({ name: "browser", command: process.execPath, args: ["lib/testing/browser.ts"] });
  if (found.failed > 0) return { ...found, name: "e2e" };
  const env = { PLAYWRIGHT_JSON_OUTPUT_FILE: reportFile("e2e") };
  return counted({ name: "e2e", command: "playwright", args: ["test"], env }, readPlaywright);
}

rmSync(REPORTS, { recursive: true, force: true });
mkdirSync(REPORTS, { recursive: true });
const results = [
  await checks(),
  await vitest("unit"),
  await vitest("db"),
  await counted({ name: "web build", command: process.execPath, args: ["worker/standalone/build-web.ts"] }),
  await vitest("proc"),
  await browserTests(),
];

console.log("");
for (const text of results.flatMap(({ failures }) => failures)) console.log(`✗ ${text}\n`);
for (const { name, passed, failed, seconds } of results) {
  const counts = `${String(passed).padStart(5)} passed ${String(failed).padStart(5)} failed`;
  console.log(`${failed === 0 ? "✓" : "✗"} ${name.padEnd(10)} ${counts} ${secondsText(seconds)}`);
}
const { passed, failed } = totalOf(results);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
