import { chmod, mkdir, rm } from "node:fs/promises";
import type { Log } from "#lib/domain/log.ts";
import type { Cgroups } from "../cgroups/groups.ts";
import { killTasksIn } from "../kill-tasks-in.ts";

/**
 * Ends what an earlier worker of the same name left when it was killed together with its spawner: processes in their
 * control groups, processes that have none, and their folders.
 */
export async function endLeftovers(cgroups: Cgroups, workFolder: string, log: Pick<Log, "warn">): Promise<void> {
  const groups = await cgroups.sweep();
  const processes = await killTasksIn(workFolder);
  if (groups + processes > 0)
    log.warn({ groups, processes }, "ended what an earlier worker of this name had left running");
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { recursive: true });
  // A task's user goes through to its own folder, and sees nobody else's.
  await chmod(workFolder, 0o711);
}
