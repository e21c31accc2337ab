import type { Page } from "@playwright/test";
import { ADMIN_PASSWORD } from "./sluice.ts";

/** Opens a page of the shared Sluice as its administrator. */
export async function signIn(page: Page, target = "/dags"): Promise<void> {
  const url = process.env.E2E_URL!;
  await page.goto(`${url}${target}`);
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password").fill(ADMIN_PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${url}${target}`);
}
