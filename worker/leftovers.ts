import { randomUUID } from "node:crypto";
import { readlinkSync } from "node:fs";
import { chmod, lstat, mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import type { Log } from "#lib/domain/log.ts";
import type { Cgroups } from "./cgroups/groups.ts";
import { killTasksIn } from "./kill-tasks-in.ts";
import { removeTaskFolders } from "./remove-task-folders.ts";
import type { ProcessUser } from "./spawner/protocol.ts";

/**
 * Ends what an earlier worker of the same name left when it was killed together with its spawner: processes in their
 * control groups, processes that have none, and their folders.
 */
export async function endLeftovers(cgroups: Cgroups, workFolder: string, log: Pick<Log, "warn">): Promise<void> {
  const groups = await cgroups.sweep();
  const folders = (await readdir(workFolder).catch(() => [])).map((name) => path.join(workFolder, name));
  const processes = await killTasksIn(workFolder, await ownersOf(folders));
  if (groups + processes > 0)
    log.warn({ groups, processes }, "ended what an earlier worker of this name had left running");
  await removeTaskFolders(folders);
  await mkdir(workFolder, { recursive: true });
  // A task's user goes through to its own folder, and sees nobody else's.
  await chmod(workFolder, 0o711);
}

/**
 * A name for a process that nobody has named: no other has it, on any machine. By it, the next process of the same host finds what
 * this one leaves when it is killed. A number says which process it was only where that number is given: containers with one
 * host's name have numbers of their own.
 */
export function anonymousName(what: string, host: string): string {
  return `${what}-${host}-${numbersOf()}-${process.pid}-${randomUUID().slice(0, 8)}`;
}

/** The namespace in which processes have their numbers here; a machine without such has one. */
function numbersOf(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

/** Ends what processes without a name of their own have left on this host, which no other process would do. */
export async function endDeadLeftovers(of: {
  home: string;
  host: string;
  log: Pick<Log, "warn">;
  cgroupsOf: (name: string) => Cgroups;
}): Promise<void> {
  const work = path.join(of.home, "work");
  for (const name of await readdir(work).catch(() => [])) {
    if (!isOfDead(name, of.host)) continue;
    const cgroups = of.cgroupsOf(name);
    await endLeftovers(cgroups, path.join(work, name), of.log);
    cgroups.remove();
    await rm(path.join(work, name), { recursive: true, force: true });
  }
}

/** A number that another process has by now is left to a later start. */
function isOfDead(name: string, host: string): boolean {
  const here = `-${host}-${numbersOf()}-`;
  const at = name.indexOf(here);
  const pid = at < 0 ? undefined : /^(\d+)-[0-9a-f]{8}$/.exec(name.slice(at + here.length))?.[1];
  if (pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
}

/** The users that tasks ran as, when this process is root. */
async function ownersOf(folders: readonly string[]): Promise<ProcessUser[]> {
  if (process.getuid?.() !== 0) return [];
  const found = await Promise.all(folders.map((folder) => lstat(folder).catch(() => undefined)));
  const owners = new Map(found.flatMap((stat) => (stat && stat.uid !== 0 ? [[stat.uid, stat.gid] as const] : [])));
  return [...owners].map(([uid, gid]) => ({ uid, gid }));
}
