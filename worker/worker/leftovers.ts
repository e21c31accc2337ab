import { chmod, lstat, mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import type { Log } from "#lib/domain/log.ts";
import type { Cgroups } from "../cgroups/groups.ts";
import { killTasksIn } from "../kill-tasks-in.ts";
import { removeTaskFolders } from "../remove-task-folders.ts";
import type { ProcessUser } from "../spawner/protocol.ts";

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

/** The users that tasks ran as, when this process is root. */
async function ownersOf(folders: readonly string[]): Promise<ProcessUser[]> {
  if (process.getuid?.() !== 0) return [];
  const found = await Promise.all(folders.map((folder) => lstat(folder).catch(() => undefined)));
  const owners = new Map(found.flatMap((stat) => (stat && stat.uid !== 0 ? [[stat.uid, stat.gid] as const] : [])));
  return [...owners].map(([uid, gid]) => ({ uid, gid }));
}
