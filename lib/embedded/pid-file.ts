import { readFile } from "node:fs/promises";
import path from "node:path";
import { codeOf } from "./folder.ts";

/**
 * What `postmaster.pid` says: the server that has the data folder, and its state, which is `stopping` once it has been
 * told to end, whatever it still waits for (https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h).
 * `state` is empty before the server has written it.
 */
export type PidFile = { pid: number; state: string };

const STATE_LINE = 7;

/** `gone` when there is no such file; undefined when it cannot be read or is not whole. */
export async function readPidFile(pgData: string): Promise<PidFile | "gone" | undefined> {
  try {
    const lines = (await readFile(pidFileOf(pgData), "utf8")).split("\n");
    const pid = Number(lines[0]);
    // A server for a single user writes its number as a negative one.
    return Number.isInteger(pid) && pid !== 0
      ? { pid: Math.abs(pid), state: lines[STATE_LINE]?.trim() ?? "" }
      : undefined;
  } catch (error) {
    return codeOf(error) === "ENOENT" ? "gone" : undefined;
  }
}

export function pidFileOf(pgData: string): string {
  return path.join(pgData, "postmaster.pid");
}
