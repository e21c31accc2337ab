import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/**
 * The file operations that control groups are made of. They are the kernel's own tables and answer in some ten
 * microseconds, less than a trip to another thread costs.
 */
export type CgroupFiles = {
  exists(file: string): boolean;
  /** Makes a folder and what is missing above it. */
  make(folder: string): void;
  write(file: string, text: string): void;
  read(file: string): string;
  remove(folder: string): void;
  /** Names of the folders in a folder. */
  folders(folder: string): string[];
  kill(pid: number): void;
};

export const CGROUP_FILES: CgroupFiles = {
  exists: existsSync,
  make: (folder) => void mkdirSync(folder, { recursive: true }),
  write: (file, text) => writeFileSync(file, text),
  read: (file) => readFileSync(file, "utf8"),
  remove: (folder) => rmdirSync(folder),
  folders: (folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name),
  kill: (pid) => {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
  },
};

/** The processes of a group. One in a namespace that we do not see is a 0, and a signal to 0 would be one to us. */
export function pidsOf(files: CgroupFiles, folder: string): number[] {
  const pids = files.read(path.join(folder, "cgroup.procs")).split("\n").map(Number);
  return pids.filter((pid) => pid > 0);
}

/** The number behind `key` in a file of keys and values. */
export function valueOf(text: string, key: string): number | undefined {
  const found = text.split("\n").find((line) => line.startsWith(`${key} `));
  return found === undefined ? undefined : Number(found.slice(key.length + 1));
}

/** What a file holds; undefined where the kernel has no such file. */
export function readIfThere(files: CgroupFiles, file: string): string | undefined {
  try {
    return files.read(file);
  } catch {
    return undefined;
  }
}

/** Removes a group that may have something in it still; the next start looks again. */
export function removeQuietly(files: CgroupFiles, folder: string): void {
  try {
    files.remove(folder);
  } catch {
    // What is in it is not lost: it lies under the worker's name.
  }
}
