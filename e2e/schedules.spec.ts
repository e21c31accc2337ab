import { expect, type Page, test } from "@playwright/test";
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Dag, DagDetail } from "#lib/contract/dags.ts";
import type { DagRun } from "#lib/contract/dag-runs.ts";
import type { SchedulePreview } from "#lib/contract/schedules.ts";
import { signIn } from "./sign-in.ts";
import { api, type Sluice } from "./sluice.ts";

const sluice = { url: process.env.E2E_URL! } as Sluice;
const HOUR_MS = 3_600_000;
const written: string[] = [];

async function removeDags(): Promise<void> {
  for (const file of written.splice(0)) await rm(file, { force: true });
}

test.afterEach(removeDags);

/** Puts a DAG of one task into the folder, and waits until it is loaded. */
async function writeDag(id: string, fields: object): Promise<void> {
  const file = path.join(process.env.E2E_FOLDER!, "dags", `${id}.json`);
  await writeFile(file, JSON.stringify({ id, ...fields, tasks: [{ id: "only", noop: {} }] }));
  written.push(file);
  await expect.poll(async () => (await api(sluice, `/dags/${id}`)).status).toBe(200);
}

async function dagOf(id: string): Promise<DagDetail> {
  return (await (await api(sluice, `/dags/${id}`)).json()) as DagDetail;
}

const dropsOf = async (id: string): Promise<string[]> =>
  (await dagOf(id)).schedules.flatMap(({ dropped }) => dropped.map(({ reason }) => reason));

const rowOf = (page: Page, id: string) =>
  page.getByRole("row").filter({ has: page.getByRole("link", { name: id, exact: true }) });

test("the list and the DAG's page say when a DAG runs, and which runs never started", async ({ page }) => {
  await writeDag("clockwork", {
    timezone: "Europe/Berlin",
    startDate: new Date(Date.now() - 2 * HOUR_MS).toISOString(),
    catchup: { policy: "all", max: 3 },
    calendars: { closed: { weekdays: ["mon", "tue", "wed", "thu", "fri", "sat"] } },
    schedule: [{ cron: "0 9 * * *", calendar: { except: ["closed"] } }, { every: "10m" }],
  });
  await writeDag("over", { schedule: "@daily", endDate: "2020-01-01" });
  await expect.poll(() => dropsOf("clockwork")).toContain("TOO_MANY");
  await signIn(page);
  const row = rowOf(page, "clockwork");
  await expect(row).toContainText("At 09:00, in Europe/Berlin");
  await expect(row).toContainText("and 1 more");
  await expect(row.getByText(/^in \d/).filter({ visible: true })).toHaveAttribute("title", /Europe\/Berlin, .* UTC$/);
  await expect(rowOf(page, "over")).toContainText("never due again");
  await expect(rowOf(page, "hello")).toContainText("No schedule");
  await row
    .getByRole("link", { name: /\d+ dropped/ })
    .filter({ visible: true })
    .click();
  await page.waitForURL(/\/dags\/clockwork#schedule/);

  const card = page.getByRole("region", { name: "Schedule" });
  await expect(card).toContainText("every 10m");
  await expect(card).toContainText(/\d+ runs between .* UTC did not start: more than catchup makes up for/);
  await expect(card.getByRole("row")).toHaveCount(11);
  const answer = await api(sluice, "/dags/clockwork/next-runs?count=10");
  const { items } = (await answer.json()) as SchedulePreview;
  const [first] = items;
  await expect(card.getByRole("row").nth(1)).toContainText(first!.local.slice(0, 10));
  await expect(card.getByRole("row").nth(1)).toContainText(first!.at.slice(11, 16));

  await page.goto(`${sluice.url}/dags/over`);
  await expect(card).toContainText("It is never due again.");
  await expect(card).toContainText("ended Wed 2020-01-01 00:00 UTC");
  await rm(path.join(process.env.E2E_FOLDER!, "dags", "over.json"));
  await expect.poll(async () => (await dagOf("over")).missing).toBe(true);
  await page.reload();
  await expect(card).toContainText("No run starts: its file is gone.");
  await page.goto(`${sluice.url}/dags/hello`);
  await expect(card).toContainText("It has no schedule");
  await page.setViewportSize({ width: 390, height: 844 });
  for (const target of ["/dags", "/dags/clockwork"]) {
    await page.goto(`${sluice.url}${target}`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  }
  // Nothing of the card is cut off, and its last column is inside.
  const { x, width } = (await card.getByRole("cell").last().boundingBox())!;
  expect(x + width).toBeLessThanOrEqual(390);

  await removeDags();
  await expect.poll(async () => (await dagOf("clockwork")).missing).toBe(true);
  await page.reload();
  await expect(card).toContainText("No run starts: its file is gone.");
});

test("the toggle pauses a DAG, and its page makes up for the pause when asked to", async ({ page }) => {
  await writeDag("ticking", { schedule: { every: "1s" }, catchup: { policy: "all", max: 3 } });
  await signIn(page);
  const toggle = page.getByRole("switch", { name: "ticking is active" });
  await expect(toggle).toBeChecked();
  await toggle.click();
  await expect(toggle).not.toBeChecked();
  await expect(rowOf(page, "ticking")).toContainText("paused");
  const { pausedAt, ...paused } = await dagOf("ticking");
  expect(paused).toMatchObject({ paused: true, pausedBy: "admin" });
  await expect.poll(async () => (await dagOf("ticking")).dueInPause?.runs).toBeGreaterThan(4);

  await page.goto(`${sluice.url}/dags/ticking`);
  const banner = page.getByRole("region", { name: "Paused" });
  await expect(banner).toContainText(/Paused since .* UTC by admin/);
  await expect(page.getByRole("region", { name: "Schedule" })).toContainText("Next runs, were it to go on now");
  await expect(banner.getByRole("radio", { name: /Go on from now/ })).toBeChecked();
  await banner.getByRole("radio", { name: /Make up for the pause.*3 of them start/ }).check();
  await banner.getByRole("button", { name: "Unpause" }).click();
  await expect(banner).toBeHidden();
  const goesOnAt = new Date().toISOString();
  const madeUp = async (): Promise<number> => {
    const answer = await api(sluice, "/dag-runs?dagId=ticking&limit=200");
    const { items } = (await answer.json()) as { items: DagRun[] };
    return items.filter(({ logicalDate }) => logicalDate > pausedAt! && logicalDate < goesOnAt).length;
  };
  await expect.poll(madeUp).toBeGreaterThanOrEqual(3);
  expect(await dropsOf("ticking")).not.toContain("PAUSED");

  // From the list it goes on from now, by keyboard as well.
  await page.goto(`${sluice.url}/dags`);
  // A key that is pressed before the page listens is lost.
  await expect(async () => {
    await toggle.focus();
    if (await toggle.isChecked()) await page.keyboard.press("Space");
    await expect(toggle).not.toBeChecked({ timeout: 2_000 });
  }).toPass();
  await expect.poll(async () => (await dagOf("ticking")).dueInPause?.runs).toBeGreaterThan(1);
  await expect(toggle).toBeFocused();
  await page.keyboard.press("Space");
  await expect(toggle).toBeChecked();
  await expect.poll(() => dropsOf("ticking")).toContain("PAUSED");
});

test("a toggle that the server refuses goes back, and says why", async ({ page }) => {
  await signIn(page);
  const detail = "Your role may look, but not change anything.";
  await page.route("**/api/v1/dags/hello/pause", (route) => route.fulfill({ status: 403, json: { detail } }));
  const toggle = page.getByRole("switch", { name: "hello is active" });
  await toggle.click();
  await expect(page.getByRole("alert").filter({ hasText: detail })).toBeVisible();
  await expect(toggle).toBeChecked();
});

test("the API pauses, unpauses and previews, and refuses what is wrong", async () => {
  const post = (target: string, body?: string) => api(sluice, target, { method: "POST", ...(body && { body }) });
  const cases: [Promise<Response>, number][] = [
    [post("/dags/nowhere/pause"), 404],
    [post("/dags/nowhere/unpause"), 404],
    [post("/dags/hello/unpause", '{"catchUp":"yes"}'), 400],
    [post("/dags/hello/unpause", '{"catchup":true}'), 400],
    [api(sluice, "/dags/nowhere/next-runs"), 404],
    [api(sluice, "/dags/hello/next-runs?count=0"), 400],
    [api(sluice, "/dags/hello/next-runs?count=101"), 400],
    [api(sluice, "/dags/hello/pause"), 405],
  ];
  for (const [answer, status] of cases) expect((await answer).status, (await answer).url).toBe(status);
  const paused = await post("/dags/hello/pause");
  expect([paused.status, await paused.json()]).toMatchObject([
    200,
    { id: "hello", paused: true, pausedBy: "api-token" },
  ]);
  const goesOn = await post("/dags/hello/unpause");
  expect([goesOn.status, await goesOn.json()]).toMatchObject([
    200,
    { paused: false, pausedBy: null, dueInPause: null },
  ]);
  const list = (await (await api(sluice, "/dags?limit=200")).json()) as { items: Dag[] };
  expect(list.items.find(({ id }) => id === "hello")).toMatchObject({ schedule: null, paused: false });
  expect(await (await api(sluice, "/dags/hello/next-runs")).json()).toMatchObject({ items: [] });
});
