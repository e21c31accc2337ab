import { readdir, readFile } from "node:fs/promises";

/** One that hangs in a device does not end for being killed. */
const MAX_LOOKS = 50;

/**
 * Kills the processes of tasks whose folder is `folder` or in it, and answers how many they were. Looks until it has
 * found nothing twice: a process between two programs shows no environment, and others fork.
 */
export async function killTasksIn(folder: string): Promise<number> {
  const killed = new Set<string>();
  for (let looks = 0, quiet = 0; quiet < 2 && looks < MAX_LOOKS; looks++) {
    const found = await killFound(folder);
    for (const pid of found) killed.add(pid);
    quiet = found.length === 0 ? quiet + 1 : 0;
  }
  return killed.size;
}

/**
 * A task is told by its environment where to leave its output, which is in its folder; what it starts inherits that.
 * Somebody else's process may well name the folder too, a shell that looks into it for one. Linux only.
 */
async function killFound(folder: string): Promise<string[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => isOf(pid, folder)));
  return pids.filter((pid, index) => found[index] && kill(Number(pid)));
}

async function isOf(pid: string, folder: string): Promise<boolean> {
  const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
  return `\0${environment}`.includes(`\0SLUICE_OUTPUT=${Buffer.from(folder).toString("latin1")}/`);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}
