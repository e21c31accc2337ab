import { expect, test } from "@playwright/test";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { signIn } from "./sign-in.ts";
import { makeTaskFolder, triggerRun, type Sluice } from "./sluice.ts";

const url = process.env.E2E_URL!;
const sluice = { url } as Sluice;

test("every page asks for the sign-in and a wrong password does not open the door", async ({ page }) => {
  for (const target of ["/", "/dags", "/dags/hello", "/runs/1", "/workers"]) {
    await page.goto(`${url}${target}`);
    await expect(page).toHaveURL(/\/login/);
  }
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password").fill("not the password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert").filter({ hasText: /password/i })).toBeVisible();
  await page.goto(`${url}/dags`);
  await expect(page).toHaveURL(/\/login/);
});

for (const dag of ["hello", "etl"]) {
  test(`${dag} runs from the page to its end, live, without a reload`, async ({ page }) => {
    await signIn(page, `/dags/${dag}`);
    await page.getByRole("button", { name: "Trigger", exact: true }).click();
    // Where a dialog asks for values first, its own button sends it.
    const dialog = page.getByRole("dialog");
    if (await dialog.isVisible()) await dialog.getByRole("button", { name: /trigger|start/i }).click();
    await page.waitForURL(/\/runs\/\d+/);
    await page.evaluate(() => Object.assign(window, { notReloaded: true }));
    await expect(page.getByRole("heading", { level: 1 })).toContainText(dag);
    await expect(page.locator('[data-task="extract"]').first()).toBeVisible();
    await expect(page.getByTestId("run-state")).toContainText("Success", { ignoreCase: true, timeout: 20_000 });
    for (const task of ["extract", "transform"]) {
      await expect(page.locator(`[data-task="${task}"][data-state="success"]`).first()).toBeVisible();
    }
    expect(await page.evaluate(() => "notReloaded" in window)).toBe(true);
  });
}

test("log lines are there while the task runs", async ({ page }) => {
  const folder = await makeTaskFolder(process.env.E2E_FOLDER!);
  const runId = await triggerRun(sluice, "held", { conf: { folder } });
  await signIn(page, `/runs/${runId}?task=hold`);
  await expect(page.getByTestId("log")).toContainText("attempt 1 is waiting");
  await expect(page.locator('[data-task="hold"][data-state="running"]').first()).toBeVisible();
  await writeFile(path.join(folder, "go"), "");
  await expect(page.getByTestId("log")).toContainText("attempt 1 goes on");
  await expect(page.getByTestId("run-state")).toContainText("Success", { ignoreCase: true });
});

test("a failed task shows its log, what waits for it ends upstream failed, and the run fails", async ({ page }) => {
  const runId = await triggerRun(sluice, "failing");
  await signIn(page, `/runs/${runId}?task=breaks`);
  await expect(page.getByTestId("run-state")).toContainText("Failed", { ignoreCase: true });
  await expect(page.locator('[data-task="behind"][data-state="upstream_failed"]').first()).toBeVisible();
  await expect(page.locator('[data-task="beside"][data-state="success"]').first()).toBeVisible();
  await expect(page.getByTestId("log")).toContainText("about to fail");
});

test("signing out ends the session, also for a copy of its cookie", async ({ page, playwright }) => {
  await signIn(page);
  const copy = await playwright.request.newContext({ storageState: await page.context().storageState() });
  expect((await copy.get(`${url}/api/v1/dags`)).status()).toBe(200);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/login/);
  expect((await copy.get(`${url}/api/v1/dags`)).status()).toBe(401);
  await copy.dispose();
});

test("the first page paints in under a second", async ({ page }) => {
  await signIn(page);
  await page.goto(`${url}/dags`);
  // The entry may come after the load event; a buffered observer hears of it whenever it does.
  const paint = await page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const observer = new PerformanceObserver((list) => {
          const [entry] = list.getEntriesByName("first-contentful-paint");
          if (entry) resolve(entry.startTime);
        });
        observer.observe({ type: "paint", buffered: true });
      }),
  );
  expect(paint).toBeLessThan(1_000);
});
