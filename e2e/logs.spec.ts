import { expect, test } from "@playwright/test";
import { signIn } from "./sign-in.ts";
import { api, runEnd, type Sluice, tasksOf, triggerRun } from "./sluice.ts";

const sluice = { url: process.env.E2E_URL! } as Sluice;

test("a log is coloured and filtered by level, and what is no text does no harm", async ({ page }) => {
  const runId = await triggerRun(sluice, "levels");
  expect(await runEnd(sluice, runId)).toBe("success");
  await signIn(page, `/runs/${runId}?task=prints`);
  const log = page.getByTestId("log");
  const lines = log.locator("[data-stream]");
  await expect(lines).toHaveCount(13);
  await expect(log.locator("[data-level=error]")).toHaveCount(4);
  await expect(log).toContainText("half \uFFFD, no text \uFFFD\uFFFD, NUL  end");
  await expect(log).toContainText("cut \uFFFD");
  await expect(log).toContainText("progress 100%");
  await expect(log).not.toContainText("progress 10%");
  await expect(log).not.toContainText("title");
  await expect(log.locator(".ansi-2")).toHaveText("green");
  await expect(log).toContainText("190,000 more characters in the whole log");
  await expect(log.locator("[data-stream=stderr]")).not.toHaveAttribute("data-level");

  await page.getByRole("button", { name: /^Errors/ }).click();
  await expect(page.getByRole("button", { name: /^Errors/ })).toHaveText("Errors4");
  await expect(lines).toHaveCount(4);
  await expect(log).toContainText('File "load.py", line 3, in read');
  await page.reload();
  await expect(lines).toHaveCount(4);
  await page.getByRole("button", { name: /^Warnings/ }).click();
  await expect(lines).toHaveCount(5);
  await page.getByRole("button", { name: "Info" }).click();
  await expect(lines).toHaveCount(12);
  await page.getByRole("button", { name: "All" }).click();
  await expect(lines).toHaveCount(13);
});

test("the levels of Python's logging arrive, with their tracebacks", async () => {
  const runId = await triggerRun(sluice, "levels");
  expect(await runEnd(sluice, runId)).toBe("success");
  const python = (await tasksOf(sluice, runId)).find(({ taskId }) => taskId === "python")!;
  const log = async (query: string): Promise<string> =>
    (await api(sluice, `/task-instances/${python.id}/logs?follow=false${query}`)).text();
  const errors = await log("&level=error");
  expect(errors).toMatch(
    /^ERROR loader: no luck\n {2}at all\n {2}Traceback[^]* {2}ZeroDivisionError: division by zero\n$/,
  );
  expect(await log("&level=warn")).toBe(`WARNING loader: careful\n${errors}`);
  expect(await log("")).toBe(`INFO hello\nWARNING loader: careful\n${errors}`);
  const refused = await api(sluice, `/task-instances/${python.id}/logs?follow=true&level=error`);
  expect([refused.status, ((await refused.json()) as { detail: string }).detail]).toEqual([
    400,
    "level is for a log that is not followed: add follow=false.",
  ]);
});
