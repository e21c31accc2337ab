import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createBundleStore } from "./bundle-store.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "sluice-bundles-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a bundle is a folder with its files, made once", async () => {
  let reads = 0;
  const store = createBundleStore(folder, async () => (reads++, { "a/b.ts": "1" }));
  const [one, again] = await Promise.all([store.folderOf("h"), store.folderOf("h")]);
  expect([one, again, reads]).toEqual([path.join(folder, "h"), one, 1]);
  expect(await readFile(path.join(one, "a/b.ts"), "utf8")).toBe("1");
  expect(await store.textOf("h", "a/b.ts")).toBe("1");
});

test("a bundle with a path outside itself leaves nothing, and may be right another time", async () => {
  let files: Record<string, string> = { "b.ts": "1", "../../x.ts": "1" };
  const store = createBundleStore(folder, async () => files);
  await expect(store.folderOf("h")).rejects.toThrow("a path outside itself: ../../x.ts");
  expect(await readdir(folder)).toEqual([]);
  files = { "b.ts": "1" };
  expect(await store.folderOf("h")).toBe(path.join(folder, "h"));
});
