import os from "node:os";
import { expect, test } from "vitest";
import { createDiskCheck } from "./free-disk.ts";

const BLOCK = 4_096;
const blocksOf = (mib: number): number => (mib * 1024 * 1024) / BLOCK;

test("a process is not started on a disk that is nearly full, which is looked at once in a while", async () => {
  let now = 0;
  let looks = 0;
  const disk = { bsize: BLOCK, bavail: blocksOf(300), files: 1_000, ffree: 10 };
  const look = async (): Promise<typeof disk> => (looks++, disk);
  const check = createDiskCheck({ folder: "/work", minFreeMib: 256, nowMs: () => now, look });
  expect(await check()).toBeUndefined();
  disk.bavail = blocksOf(255);
  expect(await check()).toBeUndefined();
  expect(looks).toBe(1);
  now += 1_001;
  expect(await check()).toBe("the worker has less than 256 MiB of disk left (SLUICE_MIN_FREE_DISK)");
  disk.bavail = blocksOf(300);
  expect(await check(true)).toBeUndefined();
  now += 1_001;
  Object.assign(disk, { bavail: blocksOf(300), ffree: 0 });
  expect(await check()).toContain("no room for another file");
  now += 1_001;
  disk.files = 0;
  expect(await check()).toBeUndefined();
});

test("a folder that is gone is told, and a real one has room", async () => {
  expect(await createDiskCheck({ folder: "/no/such/folder", minFreeMib: 0 })()).toContain("ENOENT");
  expect(await createDiskCheck({ folder: os.tmpdir(), minFreeMib: 0 })()).toBeUndefined();
  expect(await createDiskCheck({ folder: os.tmpdir(), minFreeMib: 2 ** 40 })()).toContain("MiB of disk left");
});
