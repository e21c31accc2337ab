import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "@playwright/test";
import { signIn } from "./sign-in.ts";
import { makeTaskFolder, runEnd, type Sluice, triggerRun } from "./sluice.ts";

const sluice = { url: process.env.E2E_URL! } as Sluice;

// A trace stops the page for each picture of it.
test.use({ trace: "off" });

test("a line is on the page within a second of being printed", async ({ page }) => {
  const folder = await makeTaskFolder(process.env.E2E_FOLDER!);
  const runId = await triggerRun(sluice, "ticks", { conf: { folder } });
  await signIn(page, `/runs/${runId}?task=ticks`);
  await expect(page.getByText("Live")).toHaveCount(2);
  await page.evaluate(() => {
    const late = new Map<string, number>();
    const all = new Promise<number[]>((resolve) => {
      new MutationObserver(() => {
        for (const line of document.querySelectorAll("[data-testid=log] [data-stream]")) {
          const [, tick, at] = /tick (\d) at (\d+)/.exec(line.textContent ?? "") ?? [];
          if (tick !== undefined && !late.has(tick)) late.set(tick, Date.now() - Number(at));
        }
        if (late.size === 8) resolve([...late.values()]);
      }).observe(document.body, { childList: true, subtree: true, characterData: true });
    });
    Object.assign(window, { late: all });
  });
  await writeFile(path.join(folder, "go"), "");
  expect(await runEnd(sluice, runId)).toBe("success");
  const seen = await page.evaluate<number[]>("window.late");
  const late = seen.toSorted((a, b) => a - b);
  // One line may meet a machine that is busy with something else.
  expect(late[4], `late by ${late.join(", ")} ms`).toBeLessThan(1_000);
});
