import { readdir, readFile } from "node:fs/promises";

const TICKS_PER_S = 100;

/** Processor time in ms that a process has used, and what it has waited for: children that have ended. */
export type CpuMs = { own: number; children: number };

export async function cpuMsOf(pid: number): Promise<CpuMs> {
  const fields = await statOf(pid);
  const ms = (first: number, second: number): number => ((fields[first]! + fields[second]!) * 1_000) / TICKS_PER_S;
  return { own: ms(11, 12), children: ms(13, 14) };
}

/** The processes that `pid` has started and that live. */
export async function childrenOf(pid: number): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (/^\d+$/.test(entry) && (await statOf(Number(entry)))[1] === pid) found.push(Number(entry));
  }
  return found;
}

/** What follows the name, which may hold anything: state, parent, … user and system time, those of children waited for. */
async function statOf(pid: number): Promise<number[]> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

/** Processor time in ms that a Postgres has used with all of its backends, ended ones included; other load does not count. */
export async function postgresCpuMs(postmaster: number): Promise<number> {
  let ticks = 0;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = await statOf(Number(entry));
    if (Number(entry) === postmaster) ticks += fields[11]! + fields[12]! + fields[13]! + fields[14]!;
    else if (fields[1] === postmaster) ticks += fields[11]! + fields[12]!;
  }
  return (ticks * 1_000) / TICKS_PER_S;
}
