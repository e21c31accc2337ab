/** `npm test`: every check and every test, all of them whatever fails, with one line of counts at the end. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { check } from "./check.ts";
import { countPlaywright, countVitest } from "./reports.ts";
import { type Command, type Count, ROOT, run, secondsText, type StepResult } from "./steps.ts";

const REPORTS = path.join(ROOT, "node_modules/.cache/test-reports");

function reportFile(name: string): string {
  return path.join(REPORTS, `${name}.json`);
}

/** A crash without a failed test counts as one: it must not look like success. */
async function counted(step: Command, count: ((report: unknown) => Count) | undefined): Promise<StepResult> {
  console.log(`\n── ${step.name}`);
  const { ok, seconds } = await run(step, true);
  let counts: Count = { passed: ok && count === undefined ? 1 : 0, failed: 0 };
  try {
    if (count !== undefined) counts = count(JSON.parse(readFileSync(reportFile(step.name), "utf8")));
  } catch (error) {
    console.error(`${step.name} left no report: ${error instanceof Error ? error.message : String(error)}`);
    return { name: step.name, passed: 0, failed: 1, seconds };
  }
  if (!ok && counts.failed === 0) counts = { ...counts, failed: 1 };
  return { name: step.name, ...counts, seconds };
}

function vitest(project: string): Promise<StepResult> {
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile(project)}`];
  const args = ["run", "--project", project, "--passWithNoTests", ...reporters];
  return counted({ name: project, command: "vitest", args }, countVitest);
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
    return [{ name: "check", passed: 0, failed: 1, seconds: 0 }];
  });
  return {
    name: "check",
    ...totalOf(results),
    seconds: (performance.now() - startedAt) / 1000,
  };
}

async function browserTests(): Promise<StepResult> {
  const found = await counted(
    { name: "browser", command: process.execPath, args: ["lib/testing/browser.ts"] },
    undefined,
  );
  if (found.failed > 0) return { ...found, name: "e2e" };
  const env = { PLAYWRIGHT_JSON_OUTPUT_FILE: reportFile("e2e") };
  return counted({ name: "e2e", command: "playwright", args: ["test"], env }, countPlaywright);
}

rmSync(REPORTS, { recursive: true, force: true });
mkdirSync(REPORTS, { recursive: true });
const results = [
  await checks(),
  await vitest("unit"),
  await vitest("db"),
  await counted({ name: "web build", command: process.execPath, args: ["worker/standalone/build-web.ts"] }, undefined),
  await vitest("proc"),
  await browserTests(),
];

console.log("");
for (const { name, passed, failed, seconds } of results) {
  const counts = `${String(passed).padStart(5)} passed ${String(failed).padStart(5)} failed`;
  console.log(`${failed === 0 ? "✓" : "✗"} ${name.padEnd(10)} ${counts} ${secondsText(seconds)}`);
}
const { passed, failed } = totalOf(results);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
