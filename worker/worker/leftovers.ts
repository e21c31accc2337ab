import { chmod, mkdir, readdir, readFile, rm } from "node:fs/promises";
import type { Log } from "#lib/domain/log.ts";
import type { Cgroups } from "../cgroups/groups.ts";

/**
 * Ends what an earlier worker of the same name left when it was killed together with its spawner: processes in their
 * control groups, processes that have none, and their folders.
 */
export async function endLeftovers(cgroups: Cgroups, workFolder: string, log: Pick<Log, "warn">): Promise<void> {
  const groups = await cgroups.sweep();
  const processes = await killProcessesOf(workFolder);
  if (groups + processes > 0)
    log.warn({ groups, processes }, "ended what an earlier worker of this name had left running");
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { recursive: true });
  // A task's user goes through to its own folder, and sees nobody else's.
  await chmod(workFolder, 0o711);
}

/** Tasks are told of files in their folder by their environment, which what they start inherits. Linux only. */
async function killProcessesOf(workFolder: string): Promise<number> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => isOf(pid, workFolder)));
  return pids.filter((pid, index) => found[index] && kill(Number(pid))).length;
}

async function isOf(pid: string, workFolder: string): Promise<boolean> {
  const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
  return environment.includes(`=${Buffer.from(workFolder).toString("latin1")}/`);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}
