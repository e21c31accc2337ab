import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { countedByDu, createWriters, type Writer, type Writers } from "./disk-writers.ts";

type Scene = { writers: Writers; ended: string[]; said: string[]; looked: () => Promise<void> };

/** Folders and what they hold; `free` is read at each look. */
function scene(sizes: Record<string, number>, free: () => number): Scene {
  const ended: string[] = [];
  const said: string[] = [];
  let next = Promise.withResolvers<void>();
  const writers = createWriters({
    folder: "/work",
    minFreeMib: 256,
    end: async (folder) => void ended.push(folder),
    log: { warn: (_: unknown, text?: string) => void said.push(String(text)) },
    freeMib: async () => {
      next.resolve();
      next = Promise.withResolvers();
      return free();
    },
    sizeMib: async (folder) => sizes[folder]!,
  });
  const looked = async (): Promise<void> => {
    // The one after the next: what the next one found is done by then.
    for (let times = 0; times < 2; times++) await next.promise;
  };
  return { writers, ended, said, looked };
}

const aborted = ({ signal }: Writer): Promise<unknown> =>
  new Promise((resolve) => (signal.aborted ? resolve(true) : signal.addEventListener("abort", resolve)));

test("the task that has written most is ended when the disk is nearly full, one at a time", async () => {
  let free = 200;
  const { writers, ended, looked } = scene({ a: 10, b: 300, c: 100 }, () => free);
  const [a, b, c] = ["a", "b", "c"].map((name) => writers.enter(name));
  await looked();
  expect(ended).toEqual([]);
  free = 100;
  await aborted(b!);
  expect(ended).toEqual(["b"]);
  expect(String(b!.signal.reason)).toContain(
    "100 MiB left, and of all tasks that ran there this one had written most to its folder: 300 MiB",
  );
  b!.leave();
  await aborted(c!);
  free = 300;
  c!.leave();
  await looked();
  expect([ended, a!.signal.aborted]).toEqual([["b", "c"], false]);
  a!.leave();
});

test("no task is ended for what others have written", async () => {
  const { writers, ended, looked } = scene({ a: 3, b: 0 }, () => 100);
  const entered = ["a", "b"].map((name) => writers.enter(name));
  await looked();
  expect(ended).toEqual([]);
  for (const one of entered) one.leave();
});

test("no innocent is ended for a file that is in no folder, which is said once each time", async () => {
  let free = 5_000;
  const sizes = { innocent: 200, hostile: 0, late: 5 };
  const { writers, ended, said, looked } = scene(sizes, () => free);
  const [innocent, hostile] = ["innocent", "hostile"].map((name) => writers.enter(name));
  await looked();
  // The disk is looked at once on the way down: what was lost counts from when the task began.
  free = 300;
  await looked();
  free = 50;
  await looked();
  await looked();
  expect([ended, said.length]).toEqual([[], 1]);
  expect(said[0]).toContain("50 MiB left, and no task's folder holds half of what it has lost: none is ended");
  // Who begins while the disk is low has not filled it.
  const late = writers.enter("late");
  await looked();
  expect(ended).toEqual([]);
  free = 300;
  await looked();
  sizes.hostile = 4_000;
  free = 50;
  await aborted(hostile!);
  expect([ended, said.length]).toEqual([["hostile"], 2]);
  for (const one of [innocent!, hostile!, late]) one.leave();
});

test("one with more files than can be counted is the largest", async () => {
  const { writers, ended } = scene({ a: 900, b: Number.POSITIVE_INFINITY }, () => 0);
  const [a, b] = ["a", "b"].map((name) => writers.enter(name));
  await aborted(b!);
  expect(ended).toEqual(["b"]);
  expect(String(b!.signal.reason)).toContain("more files than could be counted");
  for (const one of [a!, b!]) one.leave();
});

test("a folder is counted by what it takes on its disk, and one that is gone holds nothing", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "sluice-du-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(path.join(folder, "big"), Buffer.alloc(5 * 1024 * 1024, 1));
  expect(await countedByDu(folder)).toBe(5);
  expect(await countedByDu(path.join(folder, "gone"))).toBe(0);
});
