import { readdir, readFile } from "node:fs/promises";

const TICKS_PER_S = 100;

/** Processor time in ms that a Postgres has used with all of its backends, ended ones included; other load does not count. */
export async function postgresCpuMs(postmaster: number): Promise<number> {
  let ticks = 0;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, "utf8").catch(() => "");
    // What follows the name, which may hold anything: state, parent, … user and system time, those of children waited for.
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    if (Number(entry) === postmaster) ticks += fields[11]! + fields[12]! + fields[13]! + fields[14]!;
    else if (fields[1] === postmaster) ticks += fields[11]! + fields[12]!;
  }
  return (ticks * 1_000) / TICKS_PER_S;
}
