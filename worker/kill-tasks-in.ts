import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { plainEnv } from "#lib/env.ts";
import type { ProcessUser } from "./spawner/protocol.ts";

const run = promisify(execFile);

/** Every process is told its folder by this variable, and what it starts inherits it: by it all of them are found again. */
export const WORK_DIR = "SLUICE_WORK_DIR";

/** One that hangs in a device does not end for being killed. */
const MAX_LOOKS = 50;

/**
 * Kills the processes of tasks whose folder is `folder` or in it, and answers how many they were. Looks until it has
 * found nothing twice: a process between two programs shows no environment, and others fork. `users` are those that
 * they may run as beside this process's own.
 */
export async function killTasksIn(folder: string, users: readonly ProcessUser[] = []): Promise<number> {
  const killed = new Set<string>();
  for (let looks = 0, quiet = 0; quiet < 2 && looks < MAX_LOOKS; looks++) {
    const found = await killFound(folder, users);
    for (const pid of found) killed.add(pid);
    quiet = found.length === 0 ? quiet + 1 : 0;
  }
  return killed.size;
}

/** Linux only. */
async function killFound(folder: string, users: readonly ProcessUser[]): Promise<string[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const own = await Promise.all(pids.map(async (pid) => ((await isOf(pid, folder)) ? [pid] : [])));
  const others = await Promise.all(users.map((user) => seenBy(user, folder)));
  return [...new Set([...own.flat(), ...others.flat()])].filter((pid) => kill(Number(pid)));
}

async function isOf(pid: string, folder: string): Promise<boolean> {
  const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
  const mark = `\0${WORK_DIR}=${Buffer.from(folder).toString("latin1")}`;
  return `\0${environment}`.includes(`${mark}/`) || `\0${environment}`.includes(`${mark}\0`);
}

/** Root in a container may often not look into processes of others, and the task's user may. */
async function seenBy({ uid, gid }: ProcessUser, folder: string): Promise<string[]> {
  const pattern = `^${WORK_DIR}=${folder.replaceAll(/[.[\]*^$\\]/g, "\\$&")}\\(/\\|$\\)`;
  // What that user may look into must not hold what this process knows.
  const env = plainEnv() as NodeJS.ProcessEnv;
  const look = 'grep -lsz -- "$0" /proc/[0-9]*/environ; true';
  const { stdout } = await run("/bin/sh", ["-c", look, pattern], { uid, gid, env }).catch(() => ({ stdout: "" }));
  return [...stdout.matchAll(/^\/proc\/(\d+)\//gm)].map((match) => match[1]!);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}
