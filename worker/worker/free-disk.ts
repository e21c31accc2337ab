import { statfs } from "node:fs/promises";
import { messageOf } from "#lib/domain/errors.ts";

/** Attempts that start together look once. */
const LOOK_EVERY_MS = 1_000;

const MIB = 1024 * 1024;

type FileSystem = { bsize: number; bavail: number; files: number; ffree: number };

/** Why no process should start now, when the file system of `folder` is (nearly) full; asked before each of them. */
export function createDiskCheck(options: {
  folder: string;
  minFreeMib: number;
  nowMs?: () => number;
  look?: (folder: string) => Promise<FileSystem>;
}): () => Promise<string | undefined> {
  const { folder, minFreeMib, nowMs = () => performance.now(), look = statfs } = options;
  let last: { atMs: number; answer: Promise<string | undefined> } | undefined;

  const ask = async (): Promise<string | undefined> => {
    try {
      const { bsize, bavail, files, ffree } = await look(folder);
      const freeMib = Math.floor((bsize * bavail) / MIB);
      if (freeMib < minFreeMib) {
        return `the worker has ${freeMib} MiB of disk left; a task is not started with less than ${minFreeMib} MiB`;
      }
      // Some file systems count no files and say 0 of 0.
      return files > 0 && ffree === 0 ? "the worker's disk has no room for another file" : undefined;
    } catch (error) {
      return `the worker's disk cannot be looked at: ${messageOf(error)}`;
    }
  };

  return () => {
    if (last === undefined || nowMs() - last.atMs > LOOK_EVERY_MS) last = { atMs: nowMs(), answer: ask() };
    return last.answer;
  };
}
