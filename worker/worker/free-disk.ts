import { statfs } from "node:fs/promises";
import { messageOf } from "#lib/domain/errors.ts";

/** Attempts that start together look once. */
const LOOK_EVERY_MS = 1_000;

const MIB = 1024 * 1024;

type FileSystem = { bsize: number; bavail: number; files: number; ffree: number };

/** With `isFresh` it looks anew. */
export type DiskCheck = (isFresh?: boolean) => Promise<string | undefined>;

/** What is free in the file system of `folder` for those who are not root, in MiB. */
export async function freeMibOf(folder: string): Promise<number> {
  return freeMib(await statfs(folder));
}

const freeMib = ({ bsize, bavail }: FileSystem): number => Math.floor((bsize * bavail) / MIB);

/** Why no process should start now, when the file system of `folder` is (nearly) full; asked before each of them. */
export function createDiskCheck(options: {
  folder: string;
  minFreeMib: number;
  nowMs?: () => number;
  look?: (folder: string) => Promise<FileSystem>;
}): DiskCheck {
  const { folder, minFreeMib, nowMs = () => performance.now(), look = statfs } = options;
  let last: { atMs: number; answer: Promise<string | undefined> } | undefined;

  const ask = async (): Promise<string | undefined> => {
    try {
      const seen = await look(folder);
      const { files, ffree } = seen;
      // Without the number, which changes with each look: it is said once.
      if (freeMib(seen) < minFreeMib)
        return `the worker has less than ${minFreeMib} MiB of disk left (SLUICE_MIN_FREE_DISK)`;
      // Some file systems count no files and say 0 of 0.
      return files > 0 && ffree === 0 ? "the worker's disk has no room for another file" : undefined;
    } catch (error) {
      return `the worker's disk cannot be looked at: ${messageOf(error)}`;
    }
  };

  return (isFresh = false) => {
    if (isFresh || last === undefined || nowMs() - last.atMs > LOOK_EVERY_MS) last = { atMs: nowMs(), answer: ask() };
    return last.answer;
  };
}
