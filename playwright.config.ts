import { defineConfig } from "@playwright/test";
import { BROWSER_ARGS, findBrowser } from "./lib/testing/browser.ts";

const browser = findBrowser();

/** No retries: a flaky test is a bug with an owner. One worker: the specs share a server and kill processes of it. */
export default defineConfig({
  testDir: "e2e",
  testMatch: "**/*.spec.ts",
  globalSetup: "./e2e/global-setup.ts",
  workers: 1,
  retries: 0,
  forbidOnly: process.env.CI !== undefined,
  timeout: 120_000,
  expect: { timeout: 15_000 },
  outputDir: "test-results",
  reporter: [["list"], ...jsonReporter()],
  use: {
    browserName: "chromium",
    viewport: { width: 1440, height: 900 },
    trace: "retain-on-failure",
    screenshot: "only-on-failure",
    launchOptions: { args: BROWSER_ARGS, ...(browser === undefined ? {} : { executablePath: browser }) },
  },
});

/** `npm test` counts from this file; the path comes from Playwright's own variable. */
function jsonReporter(): [["json"]] | [] {
  return process.env.PLAYWRIGHT_JSON_OUTPUT_FILE === undefined ? [] : [["json"]];
}
